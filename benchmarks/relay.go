package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

// Watermill's Publisher and Subscriber on the relay: as little as will do, and that as fast as it goes.

func openRelay(ctx context.Context, j job, m *meter) (message.Publisher, message.Subscriber, error) {
	nc, err := dialRelay(ctx, j.URL, m, relayPublish, j.Stream, 0)
	if err != nil {
		return nil, nil, err
	}
	return newRelayPublisher(nc, j.Stream), &relayReceiver{url: j.URL, meter: m, window: j.relayWindow()}, nil
}

// relayWindow is the number of messages that a subscriber gets ahead of its requests: as many as a group pushes ahead
// of the acks.
func (j *job) relayWindow() int {
	var frame []byte
	frame = appendMessage(frame, message.NewMessage(watermill.NewUUID(), j.payload()))
	return groupInFlight(j.Size) * len(frame)
}

func dialRelay(ctx context.Context, server string, m *meter, kind byte, topic string, window int) (net.Conn, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	nc, err := m.dial(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	hello := binary.LittleEndian.AppendUint32(nil, uint32(1+len(topic)+relayNumber))
	hello = append(append(hello, kind), topic...)
	hello = binary.LittleEndian.AppendUint32(hello, uint32(window))
	if _, err := nc.Write(hello); err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// appendMessage appends the frame of a message: UUID, number of metadata, their keys and values, payload.
func appendMessage(b []byte, msg *message.Message) []byte {
	start := len(b)
	b = append(b, make([]byte, relayNumber)...)
	b = appendRelayString(b, msg.UUID)
	b = binary.AppendUvarint(b, uint64(len(msg.Metadata)))
	for k, v := range msg.Metadata {
		b = appendRelayString(appendRelayString(b, k), v)
	}
	b = append(b, msg.Payload...)
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-relayNumber))
	return b
}

func appendRelayString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// readMessage makes the message of a frame, which it keeps.
func readMessage(frame []byte) (*message.Message, error) {
	r := relayFields{rest: frame}
	uuid := r.string()
	msg := message.NewMessage(uuid, nil)
	for range r.number() {
		k := r.string()
		msg.Metadata[k] = r.string()
	}
	msg.Payload = r.rest
	return msg, r.err
}

// relayFields cuts a frame into fields.
type relayFields struct {
	rest []byte
	err  error
}

func (r *relayFields) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > uint64(len(r.rest)-n) {
		r.err, r.rest = errors.New("the relay sent no message"), nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *relayFields) string() string {
	n := r.number()
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// relayPublisher publishes to one topic. It writes the messages of concurrent callers together.
type relayPublisher struct {
	nc    net.Conn
	topic string
	kick  chan struct{}
	wg    sync.WaitGroup

	mu      sync.Mutex
	out     []byte
	spare   []byte
	idle    bool         // the writer sleeps
	waiting []chan error // one for each message that is not stored yet; nil for all but the last one of a call
	err     error
}

func newRelayPublisher(nc net.Conn, topic string) *relayPublisher {
	p := &relayPublisher{nc: nc, topic: topic, kick: make(chan struct{}, 1)}
	p.wg.Go(p.write)
	p.wg.Go(p.read)
	return p
}

var relayCalls = sync.Pool{New: func() any { return make(chan error, 1) }}

func (p *relayPublisher) Publish(topic string, messages ...*message.Message) error {
	if topic != p.topic {
		return fmt.Errorf("a publisher to %q, not to %q", p.topic, topic)
	}
	if len(messages) == 0 {
		return nil
	}
	done := relayCalls.Get().(chan error)
	p.mu.Lock()
	if err := p.err; err != nil {
		p.mu.Unlock()
		return err
	}
	for _, msg := range messages {
		p.out = appendMessage(p.out, msg)
		p.waiting = append(p.waiting, nil)
	}
	p.waiting[len(p.waiting)-1] = done
	wake := p.idle
	p.idle = false
	p.mu.Unlock()
	if wake {
		p.kick <- struct{}{}
	}
	err := <-done
	relayCalls.Put(done)
	return err
}

// write writes the collected messages, until the connection ends.
func (p *relayPublisher) write() {
	for {
		p.mu.Lock()
		buf := p.out
		p.idle = len(buf) == 0
		if !p.idle {
			p.out, p.spare = p.spare[:0], nil
		}
		failed := p.err != nil
		p.mu.Unlock()
		switch {
		case failed:
			return
		case len(buf) == 0:
			<-p.kick
			runtime.Gosched() // others may have something for the same write
			continue
		}
		if _, err := p.nc.Write(buf); err != nil {
			p.fail(err)
			return
		}
		p.mu.Lock()
		p.spare = buf
		p.mu.Unlock()
	}
}

// read reads confirmations of stored messages.
func (p *relayPublisher) read() {
	in := bufio.NewReaderSize(p.nc, relayBuffer)
	for {
		whole, count, err := wholeFrames(in)
		if err != nil {
			p.fail(err)
			return
		}
		_, _ = in.Discard(len(whole)) // it is there
		p.mu.Lock()
		if count > len(p.waiting) {
			p.mu.Unlock()
			p.fail(errors.New("the relay has stored more than was sent"))
			return
		}
		for _, done := range p.waiting[:count] {
			if done != nil {
				done <- nil
			}
		}
		p.waiting = append(p.waiting[:0], p.waiting[count:]...)
		p.mu.Unlock()
	}
}

func (p *relayPublisher) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return
	}
	p.err = err
	p.nc.Close()
	for _, done := range p.waiting {
		if done != nil {
			done <- err
		}
	}
	p.waiting = nil
	if p.idle {
		p.kick <- struct{}{}
	}
}

func (p *relayPublisher) Close() error {
	p.fail(net.ErrClosed)
	p.wg.Wait()
	p.out, p.spare = nil, nil
	return nil
}

// relayReceiver is the Subscriber, with a connection for each subscription.
type relayReceiver struct {
	url    string
	meter  *meter
	window int // bytes

	mu     sync.Mutex
	cancel []func()
	wg     sync.WaitGroup
}

func (r *relayReceiver) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	nc, err := dialRelay(ctx, r.url, r.meter, relaySubscribe, topic, r.window)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	r.cancel = append(r.cancel, cancel)
	r.mu.Unlock()
	out := make(chan *message.Message)
	r.wg.Go(func() {
		defer close(out)
		defer nc.Close()
		defer context.AfterFunc(ctx, func() { nc.Close() })()
		relayMessages(ctx, nc, r.window, out)
		if ctx.Err() == nil {
			r.meter.drops.Add(1)
		}
	})
	return out, nil
}

// relayMessages hands out one message after the other, each when the one before was acked, until the connection
// ends.
func relayMessages(ctx context.Context, nc net.Conn, window int, out chan<- *message.Message) {
	in := bufio.NewReaderSize(nc, relayBuffer)
	for done := 0; ; {
		if done > 0 && (done >= window/2 || in.Buffered() == 0) {
			if _, err := nc.Write(binary.LittleEndian.AppendUint32(nil, uint32(done))); err != nil {
				return
			}
			done = 0
		}
		frame, err := readRelayFrame(in)
		if err != nil {
			return
		}
		if err := relayMessage(ctx, frame, out); err != nil {
			return
		}
		done += relayNumber + len(frame)
	}
}

// relayMessage hands out a message until it is acked.
func relayMessage(ctx context.Context, frame []byte, out chan<- *message.Message) error {
	for {
		msg, err := readMessage(frame)
		if err != nil {
			return err
		}
		msg.SetContext(ctx)
		select {
		case out <- msg:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-msg.Acked():
			return nil
		case <-msg.Nacked():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *relayReceiver) Close() error {
	r.mu.Lock()
	for _, cancel := range r.cancel {
		cancel()
	}
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}
