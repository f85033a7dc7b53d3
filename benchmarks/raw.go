package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// rawConn is the least that a client of this protocol can do: it writes requests that were built beforehand and counts
// the frames that come back, on one goroutine.
type rawConn struct {
	nc  net.Conn
	buf []byte
	r   int // the first byte of buf that has not been looked at
	w   int // end of the received bytes
}

const rawBuffer = 256 << 10

func workRaw(ctx context.Context, j job, m *meter) (result, error) {
	c, err := openRaw(ctx, j.URL, m)
	if err != nil {
		return result{}, fmt.Errorf("connecting: %w", err)
	}
	defer c.nc.Close()
	defer context.AfterFunc(ctx, func() { c.nc.Close() })()
	switch {
	case j.Work == appending:
		return c.calls(j, rawAppends(j), esproto.CmdWriteEventsCompleted, m)
	case j.Work == reading && j.Streams > 1:
		return c.calls(j, rawReads(j), esproto.CmdReadStreamEventsForwardCompleted, m)
	case j.Work == reading:
		return c.read(j, m)
	case j.Work == volatile:
		return c.receive(j, m)
	}
	return result{}, fmt.Errorf("%s cannot %s", j.Contender, j.Work)
}

func openRaw(ctx context.Context, server string, m *meter) (*rawConn, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	nc, err := m.dial(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	c := &rawConn{nc: nc, buf: make([]byte, rawBuffer)}
	password, _ := u.User.Password()
	auth := esproto.AppendHeader(nil, esproto.CmdAuthenticate, rawID(0), &esproto.Credentials{
		Login: u.User.Username(), Password: password,
	})
	esproto.EndFrame(auth, 0)
	if _, err := nc.Write(auth); err != nil {
		nc.Close()
		return nil, err
	}
	if err := c.await(esproto.CmdAuthenticated); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func rawID(n int) (id esproto.CorrelationID) {
	id[0] = 1
	binary.LittleEndian.PutUint64(id[8:], uint64(n))
	return id
}

// calls measures requests that are good for a batch of events each.
func (c *rawConn) calls(j job, requests []byte, reply esproto.Command, m *meter) (result, error) {
	frame := len(requests) / (j.total() / j.Batch)
	warmUp := j.WarmUp / j.Batch * frame
	m.record(1, j.Events/j.Batch)
	m.settle()
	if err := c.exchange(requests[:warmUp], frame, j.InFlight, reply, func(time.Duration) {}); err != nil {
		return result{}, err
	}
	m.start()
	err := c.exchange(requests[warmUp:], frame, j.InFlight, reply, func(d time.Duration) {
		m.latencies[0] = append(m.latencies[0], d)
	})
	return m.stop(), err
}

// exchange keeps so many requests, of one length, in flight: for every reply that has come it writes the next request,
// together with those for the other replies that came with it.
func (c *rawConn) exchange(
	requests []byte, frame, inFlight int, reply esproto.Command, took func(time.Duration),
) error {
	sentAt := make([]time.Time, inFlight)
	total := len(requests) / frame
	for sent, replied := 0, 0; replied < total; {
		if n := min(total-sent, inFlight-(sent-replied)); n > 0 {
			now := time.Now()
			for i := range n {
				sentAt[(sent+i)%inFlight] = now
			}
			if _, err := c.nc.Write(requests[sent*frame : (sent+n)*frame]); err != nil {
				return err
			}
			sent += n
		}
		for more := true; more; more = c.buffered() {
			if err := c.await(reply); err != nil {
				return err
			}
			took(time.Since(sentAt[replied%inFlight]))
			replied++
		}
	}
	return nil
}

// rawAppends builds all requests, each with ids of its own, in one buffer; all have the same length.
func rawAppends(j job) []byte {
	data, names := j.payload(), j.streams()
	return buildRaw(j.total()/j.Batch, func(b []byte, n int) []byte {
		b = esproto.AppendHeader(b, esproto.CmdWriteEvents, rawID(n+1), nil)
		b = esproto.AppendWriteEvents(b, names[n%len(names)], esproto.ExpectAny)
		for range j.Batch {
			var id esproto.GUID
			binary.LittleEndian.PutUint64(id[:], rand.Uint64())
			binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
			b = esproto.AppendNewEvent(b, id, eventType, 0, data, nil)
		}
		return esproto.EndWriteEvents(b, true)
	})
}

// rawReads builds a request for each of several streams.
func rawReads(j job) []byte {
	names := j.streams()
	return buildRaw(len(names), func(b []byte, n int) []byte {
		b = esproto.AppendHeader(b, esproto.CmdReadStreamEventsForward, rawID(n+1), nil)
		return esproto.AppendReadStreamEvents(b, names[n], 0, pageSize, false, true)
	})
}

// buildRaw puts so many frames of one length into one buffer.
func buildRaw(frames int, add func(b []byte, n int) []byte) (requests []byte) {
	for n := range frames {
		start := len(requests)
		requests = add(requests, n)
		esproto.EndFrame(requests, start)
		if n == 0 {
			requests = append(make([]byte, 0, frames*len(requests)), requests...)
		}
	}
	return requests
}

// read asks for one page after the other.
func (c *rawConn) read(j job, m *meter) (result, error) {
	var pages [][]byte
	for from := 0; from < j.total(); from += pageSize {
		b := esproto.AppendHeader(nil, esproto.CmdReadStreamEventsForward, rawID(len(pages)+1), nil)
		b = esproto.AppendReadStreamEvents(b, j.Stream, int64(from), pageSize, false, true)
		esproto.EndFrame(b, 0)
		pages = append(pages, b)
	}
	m.settle()
	for i, page := range pages {
		if i == j.WarmUp/pageSize {
			m.start()
		}
		if _, err := c.nc.Write(page); err != nil {
			return result{}, err
		}
		if err := c.await(esproto.CmdReadStreamEventsForwardCompleted); err != nil {
			return result{}, err
		}
	}
	return m.stop(), nil
}

// receive counts pushed events.
func (c *rawConn) receive(j job, m *meter) (result, error) {
	b := esproto.AppendHeader(nil, esproto.CmdSubscribeToStream, rawID(1), nil)
	b, err := proto.MarshalOptions{}.MarshalAppend(b, &esproto.SubscribeToStream{
		EventStreamId: proto.String(j.Stream), ResolveLinkTos: proto.Bool(false),
	})
	if err != nil {
		return result{}, err
	}
	esproto.EndFrame(b, 0)
	if _, err := c.nc.Write(b); err != nil {
		return result{}, err
	}
	if err := c.await(esproto.CmdSubscriptionConfirmation); err != nil {
		return result{}, err
	}
	seen, _ := m.counter(j)
	m.settle()
	m.tell(0)
	for range j.total() {
		if err := c.await(esproto.CmdStreamEventAppeared); err != nil {
			return result{}, err
		}
		seen()
	}
	return m.stop(), nil
}

// await takes the next frame, which must be of the given command.
func (c *rawConn) await(want esproto.Command) error {
	cmd, err := c.next()
	if err == nil && cmd != want {
		err = fmt.Errorf("got %v, not %v", cmd, want)
	}
	return err
}

// next skips the next frame that is no heartbeat, which it answers, and returns its command.
func (c *rawConn) next() (esproto.Command, error) {
	for {
		if err := c.fill(esproto.LengthSize + esproto.HeaderSize); err != nil {
			return 0, err
		}
		head := c.buf[c.r:]
		cmd := esproto.Command(head[esproto.LengthSize])
		if cmd == esproto.CmdHeartbeatRequest {
			reply := append([]byte(nil), head[:esproto.LengthSize+esproto.HeaderSize]...)
			reply[esproto.LengthSize] = byte(esproto.CmdHeartbeatResponse)
			if _, err := c.nc.Write(reply); err != nil {
				return 0, err
			}
		}
		if err := c.skip(esproto.LengthSize + int(binary.LittleEndian.Uint32(head))); err != nil {
			return 0, err
		}
		if cmd != esproto.CmdHeartbeatRequest && cmd != esproto.CmdHeartbeatResponse {
			return cmd, nil
		}
	}
}

// buffered reports whether a whole frame has been received already.
func (c *rawConn) buffered() bool {
	have := c.buf[c.r:c.w]
	return len(have) >= esproto.LengthSize && len(have)-esproto.LengthSize >= int(binary.LittleEndian.Uint32(have))
}

// fill reads until there are n bytes.
func (c *rawConn) fill(n int) error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if len(c.buf)-c.r < n {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	for c.w-c.r < n {
		k, err := c.nc.Read(c.buf[c.w:])
		if err != nil {
			return err
		}
		c.w += k
	}
	return nil
}

// skip throws n bytes away.
func (c *rawConn) skip(n int) error {
	for {
		have := min(n, c.w-c.r)
		c.r += have
		if n -= have; n == 0 {
			return nil
		}
		if err := c.fill(1); err != nil {
			return err
		}
	}
}
