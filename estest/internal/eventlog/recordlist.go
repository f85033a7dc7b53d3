package eventlog

import "iter"

// RecordList is a list of records that only grows. It has its records in chunks, and never copies a full one: to copy
// a long list takes milliseconds, and all clients of the server wait meanwhile. The zero RecordList is empty.
type RecordList struct {
	chunks [][]*Record // all but the last one are full
	n      int
}

const listChunk = 512

// Len returns the number of records.
func (l *RecordList) Len() int { return l.n }

// At returns record i. There must be one.
func (l *RecordList) At(i int) *Record { return l.chunks[i/listChunk][i%listChunk] }

// From returns record i and all later ones that the list has now, with their indexes.
func (l *RecordList) From(i int) iter.Seq2[int, *Record] {
	return func(yield func(int, *Record) bool) {
		for j, end := i, l.n; j < end && yield(j, l.At(j)); {
			j++
		}
	}
}

func (l *RecordList) add(r *Record) {
	switch {
	case l.n%listChunk != 0:
	case l.n == 0:
		l.chunks = append(l.chunks, nil) // most streams are short
	default:
		l.chunks = append(l.chunks, make([]*Record, 0, listChunk))
	}
	last := &l.chunks[len(l.chunks)-1]
	*last = append(*last, r)
	l.n++
}

// tail returns record i and all later ones. The caller may keep the slice.
func (l *RecordList) tail(i int) []*Record {
	if i == l.n {
		return nil
	}
	if first := i / listChunk; first == len(l.chunks)-1 {
		return l.chunks[first][i%listChunk : l.n-first*listChunk : l.n-first*listChunk]
	}
	recs := make([]*Record, 0, l.n-i)
	for _, r := range l.From(i) {
		recs = append(recs, r)
	}
	return recs
}
