package esclient

import (
	"cmp"
	"math/bits"
	"slices"
)

// numbers is a set of event numbers. Long runs of numbers take almost no memory. Pages of pageNumbers numbers that are
// full are kept as spans. Other pages have a bit for each number. A set with gaps everywhere, such as that of one
// subscriber of many, drops its lowest numbers to stay within maxPages. The zero value is the empty set.
type numbers struct {
	full  []span  // in order, with a gap between any two
	parts []*page // in order: pages that have some numbers, but not all
	last  *page   // the page of parts that got the last number; nil for none
	spare *page   // empty, to be used next
}

// span is a run of pages.
type span struct{ from, to int64 } // to is behind the last one

const (
	pageBits    = 10
	pageNumbers = 1 << pageBits
	// maxPages bounds parts to half a MiB in all, and full.
	maxPages = 4096
)

type page struct {
	index int64 // of its numbers
	n     int   // how many bits are set
	bits  [pageNumbers / 64]uint64
}

func (p *page) has(number int64) bool {
	i := number & (pageNumbers - 1)
	return p.bits[i/64]&(1<<(i%64)) != 0
}

func (p *page) set(number int64) {
	i := number & (pageNumbers - 1)
	if bit := uint64(1) << (i % 64); p.bits[i/64]&bit == 0 {
		p.bits[i/64] |= bit
		p.n++
	}
}

// clearUpTo removes the numbers of the page up to number, which is in the page.
func (p *page) clearUpTo(number int64) {
	i := number & (pageNumbers - 1)
	for w := range i / 64 {
		p.bits[w] = 0
	}
	p.bits[i/64] &^= ^uint64(0) >> (63 - i%64)
	p.count()
}

func (p *page) count() {
	p.n = 0
	for _, w := range p.bits {
		p.n += bits.OnesCount64(w)
	}
}

// add adds a number, which is at least 0.
func (s *numbers) add(number int64) {
	i := number >> pageBits
	p := s.last
	if p == nil || p.index != i {
		n, found := s.find(i)
		switch {
		case found:
			p = s.parts[n]
		case s.isFull(i):
			return
		default:
			p = s.newPage(i)
		}
		s.last = p
	}
	if p.set(number); p.n == pageNumbers {
		n, _ := s.find(i)
		s.parts = slices.Delete(s.parts, n, n+1)
		s.last = nil
		*p = page{}
		s.spare = p
		s.fill(i)
	}
}

// find returns the index in parts of page i, or where to insert it.
func (s *numbers) find(i int64) (n int, found bool) {
	return slices.BinarySearchFunc(s.parts, i, func(p *page, i int64) int { return cmp.Compare(p.index, i) })
}

// newPage adds an empty page to parts. If there are too many, it drops the lowest quarter, so this is rare.
func (s *numbers) newPage(i int64) *page {
	if len(s.parts) >= maxPages {
		s.parts = slices.Delete(s.parts, 0, maxPages/4)
		s.last = nil
	}
	p := s.spare
	if s.spare = nil; p == nil {
		p = new(page)
	}
	p.index = i
	n, _ := s.find(i)
	s.parts = slices.Insert(s.parts, n, p)
	return p
}

// search returns the index in full of the first span that ends after page i.
func (s *numbers) search(i int64) int {
	n, _ := slices.BinarySearchFunc(s.full, i, func(sp span, i int64) int {
		if sp.to <= i {
			return -1
		}
		return 1
	})
	return n
}

func (s *numbers) isFull(i int64) bool {
	n := s.search(i)
	return n < len(s.full) && s.full[n].from <= i
}

// fill marks page i, which is not full, as full.
func (s *numbers) fill(i int64) {
	n := s.search(i)
	before, behind := n > 0 && s.full[n-1].to == i, n < len(s.full) && s.full[n].from == i+1
	switch {
	case before && behind:
		s.full[n-1].to = s.full[n].to
		s.full = slices.Delete(s.full, n, n+1)
	case before:
		s.full[n-1].to = i + 1
	case behind:
		s.full[n].from = i
	default:
		s.full = slices.Insert(s.full, n, span{i, i + 1})
		if len(s.full) > maxPages {
			s.full = slices.Delete(s.full, 0, maxPages/4)
		}
	}
}

// has reports whether a number is in the set.
func (s *numbers) has(number int64) bool {
	i := number >> pageBits
	if n, found := s.find(i); found {
		return s.parts[n].has(number)
	}
	return s.isFull(i)
}

// removeUpTo removes a number and all below it.
func (s *numbers) removeUpTo(number int64) {
	i := number >> pageBits
	s.open(i)
	s.full = slices.Delete(s.full, 0, s.search(i))
	n, found := s.find(i)
	if found {
		if s.parts[n].clearUpTo(number); s.parts[n].n == 0 {
			n++
		}
	}
	s.parts = slices.Delete(s.parts, 0, n)
	s.last = nil
}

// remove removes a number.
func (s *numbers) remove(number int64) {
	s.open(number >> pageBits)
	n, found := s.find(number >> pageBits)
	if !found || !s.parts[n].has(number) {
		return
	}
	p, i := s.parts[n], number&(pageNumbers-1)
	p.bits[i/64] &^= 1 << (i % 64)
	if p.n--; p.n == 0 {
		s.parts = slices.Delete(s.parts, n, n+1)
		s.last = nil
	}
}

// open gives a full page its own bits.
func (s *numbers) open(i int64) {
	n := s.search(i)
	if n == len(s.full) || s.full[n].from > i {
		return
	}
	sp := s.full[n]
	var parts []span
	if sp.from < i {
		parts = append(parts, span{sp.from, i})
	}
	if i+1 < sp.to {
		parts = append(parts, span{i + 1, sp.to})
	}
	s.full = slices.Replace(s.full, n, n+1, parts...)
	p := s.newPage(i)
	for w := range p.bits {
		p.bits[w] = ^uint64(0)
	}
	p.n = pageNumbers
}

// clear empties the set.
func (s *numbers) clear() { *s = numbers{spare: s.spare} }

func (s *numbers) empty() bool { return len(s.full) == 0 && len(s.parts) == 0 }
