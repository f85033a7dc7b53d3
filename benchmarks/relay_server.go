package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
)

// The relay is the least that can carry messages from a Publisher to a Subscriber over TCP: no event numbers, no
// streams, no groups, no checks, one log in memory for each topic. What a Pub/Sub on it reaches is what Watermill and
// the sockets allow, and so the measure of the ones that do more.
//
// A client begins with one frame: a letter, the topic, and, 4 bytes, how much may be sent to it ahead of its word. All
// frames have their length, 4 bytes, in front. After 'P' it sends messages, and gets each back when it is stored: for a
// Publisher the relay is an echo. After 'S' it is sent the topic's messages, and tells, 4 bytes each time, how many
// bytes of frames it has done with.
const (
	relayPublish   = 'P'
	relaySubscribe = 'S'

	relayNumber = 4 // bytes of a length or count
	relayBuffer = 256 << 10
	relayChunk  = 1 << 20
)

// relayTopic is a log that only grows, so that parts of it can be sent without copying and without the lock.
type relayTopic struct {
	mu     sync.Mutex
	grown  sync.Cond // or a subscriber may be sent more
	chunks [][]byte  // all but the last one are full, so that nothing ever moves
	size   int
}

func (t *relayTopic) add(frames []byte) {
	t.mu.Lock()
	t.size += len(frames)
	for len(frames) > 0 {
		if n := len(t.chunks); n == 0 || len(t.chunks[n-1]) == relayChunk {
			t.chunks = append(t.chunks, make([]byte, 0, relayChunk))
		}
		last := &t.chunks[len(t.chunks)-1]
		n := min(relayChunk-len(*last), len(frames))
		*last, frames = append(*last, frames[:n]...), frames[n:]
	}
	t.mu.Unlock()
	t.grown.Broadcast()
}

type relay struct {
	l      net.Listener
	wg     sync.WaitGroup
	mu     sync.Mutex
	topics map[string]*relayTopic
	conns  map[net.Conn]struct{}
	over   bool
}

// serveRelay is the process of the relay. It ends when in does.
func serveRelay(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := warmMemory(); err != nil {
		return err
	}
	stopProfile, err := startProfile()
	if err != nil {
		return err
	}
	defer stopProfile()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r := &relay{l: l, topics: make(map[string]*relayTopic), conns: make(map[net.Conn]struct{})}
	r.wg.Go(r.accept)
	defer r.close()
	if err := json.NewEncoder(out).Encode(note{URL: "tcp://" + l.Addr().String()}); err != nil {
		return err
	}
	untilEnd(ctx, in)
	return nil
}

func (r *relay) accept() {
	for {
		nc, err := r.l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		if r.over {
			nc.Close()
		} else {
			r.conns[nc] = struct{}{}
			r.wg.Go(func() { r.serve(nc) })
		}
		r.mu.Unlock()
	}
}

func (r *relay) close() {
	r.l.Close()
	r.mu.Lock()
	r.over = true
	for nc := range r.conns {
		nc.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *relay) topic(name string) *relayTopic {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.topics[name]
	if t == nil {
		t = new(relayTopic)
		t.grown.L = &t.mu
		r.topics[name] = t
	}
	return t
}

// serve lasts as long as the client stays. How it leaves does not matter to the relay.
func (r *relay) serve(nc net.Conn) {
	defer func() {
		nc.Close()
		r.mu.Lock()
		delete(r.conns, nc)
		r.mu.Unlock()
	}()
	in := bufio.NewReaderSize(nc, relayBuffer)
	hello, err := readRelayFrame(in)
	if err != nil || len(hello) < 1+relayNumber {
		return
	}
	topic, window := hello[1:len(hello)-relayNumber], hello[len(hello)-relayNumber:]
	switch t := r.topic(string(topic)); hello[0] {
	case relayPublish:
		storeAll(t, in, nc)
	case relaySubscribe:
		sendAll(t, int(binary.LittleEndian.Uint32(window)), in, nc)
	}
}

func readRelayFrame(in *bufio.Reader) ([]byte, error) {
	var n [relayNumber]byte
	if _, err := io.ReadFull(in, n[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.LittleEndian.Uint32(n[:]))
	_, err := io.ReadFull(in, frame)
	return frame, err
}

// storeAll stores frames, as many at a time as it has received, and sends them back.
func storeAll(t *relayTopic, in *bufio.Reader, out io.Writer) {
	for {
		whole, _, err := wholeFrames(in)
		if err != nil {
			return
		}
		t.add(whole)
		if _, err := out.Write(whole); err != nil {
			return
		}
		if _, err := in.Discard(len(whole)); err != nil {
			return
		}
	}
}

var errRelayFrame = errors.New("a frame is larger than the relay's buffer")

// wholeFrames waits for a frame and returns it with all other frames that it has received.
func wholeFrames(in *bufio.Reader) (frames []byte, count int, err error) {
	head, err := in.Peek(relayNumber)
	if err != nil {
		return nil, 0, err
	}
	n := relayNumber + int(binary.LittleEndian.Uint32(head))
	if n > in.Size() {
		return nil, 0, errRelayFrame
	}
	if _, err := in.Peek(n); err != nil {
		return nil, 0, err
	}
	all, err := in.Peek(in.Buffered())
	if err != nil {
		return nil, 0, err
	}
	end := 0
	for len(all)-end >= relayNumber {
		next := end + relayNumber + int(binary.LittleEndian.Uint32(all[end:]))
		if next > len(all) {
			break
		}
		end, count = next, count+1
	}
	return all[:end], count, nil
}

// relaySubscriber is how far one connection has got. The topic's lock guards it.
type relaySubscriber struct {
	sent    int
	allowed int
	gone    bool
}

// sendAll sends the frames of the log and new ones, within the window.
func sendAll(t *relayTopic, window int, in io.Reader, out io.Writer) {
	s := &relaySubscriber{allowed: window}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { t.hear(s, in) })
	for {
		part := t.next(s)
		if part == nil {
			return
		}
		if _, err := out.Write(part); err != nil {
			return
		}
	}
}

// next waits for bytes that may be sent now; nil if the subscriber is gone.
func (t *relayTopic) next(s *relaySubscriber) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	for !s.gone && s.sent >= min(t.size, s.allowed) {
		t.grown.Wait()
	}
	if s.gone {
		return nil
	}
	part := t.chunks[s.sent/relayChunk][s.sent%relayChunk:]
	part = part[:min(len(part), s.allowed-s.sent)]
	s.sent += len(part)
	return part
}

// hear extends the window by the data that the subscriber has processed, until it leaves.
func (t *relayTopic) hear(s *relaySubscriber, in io.Reader) {
	var n [relayNumber]byte
	for {
		_, err := io.ReadFull(in, n[:])
		t.mu.Lock()
		s.allowed += int(binary.LittleEndian.Uint32(n[:]))
		s.gone = err != nil
		t.mu.Unlock()
		t.grown.Broadcast()
		if err != nil {
			return
		}
	}
}
