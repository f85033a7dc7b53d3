package esclient_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// cutPoint is the point at which a cutter ends a connection.
type cutPoint string

const (
	cutBefore       cutPoint = "before it is sent"
	cutOnTheWay     cutPoint = "on its way"
	cutHalfSent     cutPoint = "half sent"
	cutUnanswered   cutPoint = "sent and not answered"
	cutHalfAnswered cutPoint = "half answered"
)

// done reports whether the server has got the request.
func (p cutPoint) done() bool { return p == cutUnanswered || p == cutHalfAnswered }

// cutter is between a client and a server. It ends the connection of the first request of a kind at a given point. It
// passes everything else.
type cutter struct {
	target string
	l      *wiretest.Listener

	mu    sync.Mutex
	cmd   esproto.Command // of the request that it waits for; 0 for none
	where cutPoint
	id    []byte // correlation id of the request whose answer it waits for
	cuts  int
}

func newCutter(t *testing.T, target string) *cutter {
	p := &cutter{target: target}
	p.l = wiretest.Listen(t, p.serve)
	return p
}

func (p *cutter) serve(client *wiretest.Peer) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	end := func() {
		client.Close()
		server.Close()
	}
	var wg sync.WaitGroup
	wg.Go(func() { defer end(); p.pass(server, client, p.request) })
	wg.Go(func() { defer end(); p.pass(client, server, p.reply) })
	wg.Wait()
}

// arm has the cutter wait for a request.
func (p *cutter) arm(cmd esproto.Command, where cutPoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.where = cmd, where
}

func (p *cutter) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

const frameHead = esproto.LengthSize + esproto.HeaderSize

// pass copies frames until the connection ends, or is to be cut: share says how much of a frame still goes through.
func (p *cutter) pass(to io.Writer, from io.Reader, share func(head []byte, size int64) (through int64, cut bool)) {
	head := make([]byte, frameHead)
	for {
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		size := int64(esproto.LengthSize + binary.LittleEndian.Uint32(head))
		through, cut := share(head, size)
		if _, err := io.CopyN(to, io.MultiReader(bytes.NewReader(head), from), through); err != nil || cut {
			return
		}
	}
}

func (p *cutter) request(head []byte, size int64) (through int64, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == 0 || esproto.Command(head[esproto.LengthSize]) != p.cmd {
		return size, false
	}
	p.cmd = 0
	switch p.where {
	case cutOnTheWay:
		p.cuts++
		return 0, true
	case cutHalfSent:
		p.cuts++
		return size / 2, true
	}
	p.id = bytes.Clone(head[6:frameHead])
	return size, false
}

func (p *cutter) reply(head []byte, size int64) (through int64, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !bytes.Equal(p.id, head[6:frameHead]) {
		return size, false
	}
	p.id = nil
	p.cuts++
	if p.where == cutHalfAnswered {
		return size / 2, true
	}
	return 0, true
}

type (
	// call is the operation to cut off.
	call func(ctx context.Context, c *esclient.Client) error
	// prepare creates the data for the call, with a client that is not cut off. count returns how often the call has
	// taken effect; it is nil for calls without a trace.
	prepare func(t *testing.T, c *esclient.Client, stream string) (cut call, count func() int)
)

// cutOff is an operation whose connection is cut.
type cutOff struct {
	cmd     esproto.Command
	prepare prepare
	// lost and done report whether the call succeeds in spite of the cut: lost if the server has not got the request,
	// done if it has. If not, the outcome is unknown.
	lost bool
	done bool
}

func cutOffs() map[string]cutOff {
	one := esclient.EventData{Type: "numbered", Data: []byte("1")}
	events := func(t *testing.T, c *esclient.Client, stream string) func() int {
		return func() int { return len(numbersOf(t, c, stream)) }
	}
	write := func(v esclient.ExpectedVersion, e esclient.EventData) prepare {
		return func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
			return func(ctx context.Context, c *esclient.Client) error {
				_, err := c.Append(ctx, stream, v, e)
				return err
			}, events(t, c, stream)
		}
	}
	del := func(v esclient.ExpectedVersion) prepare {
		return func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
			appendNumbered(t, c, stream, 0, 0)
			return func(ctx context.Context, c *esclient.Client) error {
					_, err := c.DeleteStream(ctx, stream, v)
					return err
				},
				func() int { return 1 - len(numbersOf(t, c, stream)) }
		}
	}
	commit := func(v esclient.ExpectedVersion) prepare {
		return func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
			tx := start(t, c, stream, v)
			require.NoError(t, tx.Write(testContext(t), one))
			return func(ctx context.Context, c *esclient.Client) error {
				tx, err := c.ContinueTransaction(tx.ID(), stream, v)
				if err == nil {
					_, err = tx.Commit(ctx)
				}
				return err
			}, events(t, c, stream)
		}
	}
	return map[string]cutOff{
		"append, no stream": {cmd: esproto.CmdWriteEvents, lost: true, done: true,
			prepare: write(esclient.NoStream, one)},
		"append, any": {cmd: esproto.CmdWriteEvents, prepare: write(esclient.Any, one)},
		"append, large": {cmd: esproto.CmdWriteEvents, lost: true, done: true,
			prepare: write(esclient.NoStream, esclient.EventData{Type: "t", Data: make([]byte, 4<<20)})},
		"append, exact": {cmd: esproto.CmdWriteEvents, lost: true, done: true,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				appendNumbered(t, c, stream, 0, 0)
				call, count := write(0, one)(t, c, stream)
				return call, func() int { return count() - 1 }
			}},
		"append from a source": {cmd: esproto.CmdWriteEvents, lost: true, done: true,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				return func(ctx context.Context, c *esclient.Client) error {
					_, err := c.AppendFrom(ctx, stream, esclient.Any, source(0, 29, nil),
						esclient.AppendFromOptions{BatchEvents: 10})
					return err
				}, func() int { return len(numbersOf(t, c, stream)) / 30 }
			}},
		"set metadata": {cmd: esproto.CmdWriteEvents, lost: true, done: true,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				return func(ctx context.Context, c *esclient.Client) error {
						m := esclient.StreamMetadata{MaxCount: 1}
						_, err := c.SetStreamMetadata(ctx, stream, esclient.NoStream, m)
						return err
					}, func() int {
						_, version, err := c.StreamMetadata(testContext(t), stream)
						assert.NoError(t, err)
						return int(version) + 1
					}
			}},
		"delete, exact": {cmd: esproto.CmdDeleteStream, prepare: del(0), lost: true, done: true},
		"delete, any":   {cmd: esproto.CmdDeleteStream, prepare: del(esclient.Any)},
		"tombstone": {cmd: esproto.CmdDeleteStream, lost: true,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				return func(ctx context.Context, c *esclient.Client) error {
						_, err := c.TombstoneStream(ctx, stream, esclient.Any)
						return err
					}, func() int {
						if errors.Is(readError(t, c, stream), esclient.ErrStreamDeleted) {
							return 1
						}
						return 0
					}
			}},
		"transaction start": {cmd: esproto.CmdTransactionStart, lost: true, done: true,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				return func(ctx context.Context, c *esclient.Client) error {
					tx, err := c.StartTransaction(ctx, stream, esclient.NoStream)
					if err == nil {
						err = tx.Write(ctx, one)
					}
					if err == nil {
						_, err = tx.Commit(ctx)
					}
					return err
				}, events(t, c, stream)
			}},
		"transaction write": {cmd: esproto.CmdTransactionWrite,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				tx := start(t, c, stream, esclient.NoStream)
				return func(ctx context.Context, c *esclient.Client) error {
						tx, err := c.ContinueTransaction(tx.ID(), stream, esclient.NoStream)
						if err == nil {
							err = tx.Write(ctx, one)
						}
						return err
					}, func() int {
						_, err := tx.Commit(testContext(t))
						assert.NoError(t, err)
						return len(numbersOf(t, c, stream))
					}
			}},
		"transaction commit, exact": {cmd: esproto.CmdTransactionCommit, lost: true, done: true,
			prepare: commit(esclient.NoStream)},
		"transaction commit, any": {cmd: esproto.CmdTransactionCommit, prepare: commit(esclient.Any)},
		"create group": {cmd: esproto.CmdCreatePersistentSubscription, lost: true,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				return func(ctx context.Context, c *esclient.Client) error {
					return c.CreatePersistent(asAdmin(ctx), stream, "g", fromStart())
				}, func() int { return groups(t, c, stream) }
			}},
		"update group": {cmd: esproto.CmdUpdatePersistentSubscription, lost: true, done: true,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				require.NoError(t, c.CreatePersistent(asAdmin(testContext(t)), stream, "g", fromStart()))
				return func(ctx context.Context, c *esclient.Client) error {
					return c.UpdatePersistent(asAdmin(ctx), stream, "g", fromStart())
				}, nil
			}},
		"delete group": {cmd: esproto.CmdDeletePersistentSubscription, lost: true,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				require.NoError(t, c.CreatePersistent(asAdmin(testContext(t)), stream, "g", fromStart()))
				return func(ctx context.Context, c *esclient.Client) error {
					return c.DeletePersistent(asAdmin(ctx), stream, "g")
				}, func() int { return 1 - groups(t, c, stream) }
			}},
		"read event": {cmd: esproto.CmdReadEvent, lost: true, done: true,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				appendNumbered(t, c, stream, 0, 0)
				return func(ctx context.Context, c *esclient.Client) error {
					_, err := c.ReadEvent(ctx, stream, esclient.LastEvent, esclient.ReadEventOptions{})
					return err
				}, nil
			}},
		"read stream": {cmd: esproto.CmdReadStreamEventsForward, lost: true, done: true,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				appendNumbered(t, c, stream, 0, 9)
				return func(ctx context.Context, c *esclient.Client) error {
					n := 0
					for e, err := range c.ReadStream(ctx, stream, esclient.ReadOptions{PageSize: 3}) {
						if err != nil {
							return err
						}
						assert.Equal(t, int64(n), e.Number)
						n++
					}
					assert.Equal(t, 10, n)
					return nil
				}, nil
			}},
		"read $all": {cmd: esproto.CmdReadAllEventsBackward, lost: true, done: true,
			prepare: func(t *testing.T, c *esclient.Client, stream string) (call, func() int) {
				return func(ctx context.Context, c *esclient.Client) error {
					_, err := c.ReadAllPage(asAdmin(ctx), esclient.ReadAllOptions{Backward: true})
					return err
				}, nil
			}},
		"ping": {cmd: esproto.CmdPing, lost: true, done: true,
			prepare: func(*testing.T, *esclient.Client, string) (call, func() int) {
				return func(ctx context.Context, c *esclient.Client) error { _, err := c.Ping(ctx); return err }, nil
			}},
	}
}

// disconnections is a hook that counts lost connections.
type disconnections chan error

func (d disconnections) OnDisconnected(info esclient.ConnectionInfo) { d <- info.Err }

func (d disconnections) forget() {
	for len(d) > 0 {
		<-d
	}
}

// groups returns how many groups named g a stream has.
func groups(t *testing.T, c *esclient.Client, stream string) int {
	t.Helper()
	err := c.UpdatePersistent(asAdmin(testContext(t)), stream, "g", fromStart())
	if errors.Is(err, esclient.ErrGroupNotFound) {
		return 0
	}
	assert.NoError(t, err)
	return 1
}

// TestTheConnectionIsCutAtEachStep ends the connection at each step of each operation, and then checks the server: no
// call hangs, confirmed changes exist, and nothing exists twice.
func TestTheConnectionIsCutAtEachStep(t *testing.T) {
	t.Parallel()
	url := undertest.URL(t)
	cfg, err := esclient.ParseConnectionString(url)
	require.NoError(t, err)
	if cfg.TLS != nil {
		t.Skip("a relay reads the frames to cut between them, and cannot read those of TLS: use a URL without TLS")
	}
	var log operationLog
	direct := openWith(t, url, func(cfg *esclient.Config) { cfg.Hooks = append(cfg.Hooks, &log) })
	appendNew(t, direct) // on the leader, if the server is of a cluster
	p := newCutter(t, log.ended[0].Endpoint)
	cfg.Gossip, cfg.Address = nil, p.l.Addr()
	cfg.ReconnectDelay, cfg.MaxReconnectDelay = time.Millisecond, time.Millisecond
	lost := make(disconnections, 1000)
	cfg.Hooks = append(cfg.Hooks, lost)
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })

	for what, o := range cutOffs() {
		for _, where := range []cutPoint{cutBefore, cutOnTheWay, cutHalfSent, cutUnanswered, cutHalfAnswered} {
			t.Run(what+", "+string(where), func(t *testing.T) {
				ctx := testContext(t)
				call, count := o.prepare(t, direct, name("s"))
				require.NoError(t, c.Connect(ctx))
				before := p.count()
				if where == cutBefore {
					lost.forget()
					p.l.Cut()
					<-lost // the client knows
				} else {
					p.arm(o.cmd, where)
				}
				err := call(ctx, c)
				require.NoError(t, ctx.Err(), "it hangs")
				if where != cutBefore {
					require.Equal(t, before+1, p.count(), "the connection was not cut")
				}
				succeeds := where == cutBefore || where.done() && o.done || !where.done() && o.lost
				if succeeds {
					assert.NoError(t, err)
				} else {
					assert.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
					assert.False(t, esclient.SafeToRetry(err))
				}
				if count == nil {
					return
				}
				want := 0
				if succeeds || where.done() {
					want = 1
				}
				assert.Equal(t, want, count(), "how often it was done")
			})
		}
	}
}
