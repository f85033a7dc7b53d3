package estest_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// scenario is a recorded conversation with a real server; ../testdata/wire has them.
type scenario struct {
	Name   string            `json:"name"`
	Suffix string            `json:"suffix"` // in every name that belongs to the scenario
	IDs    map[string]string `json:"ids"`    // event ids that the client chose
	Steps  []step            `json:"steps"`
}

type step struct {
	Title  string   `json:"title"`
	Order  string   `json:"order"`  // "correlation" where only frames of one correlation id have an order
	Ignore []string `json:"ignore"` // what may differ: Command.field, or Command
	Frames []entry  `json:"frames"`
}

// entry is a frame, or the start or the end of a connection.
type entry struct {
	Dir    string          `json:"dir"`
	Conn   int             `json:"conn"`
	Cmd    string          `json:"cmd"`
	Corr   string          `json:"corr"` // label of the correlation id
	Auth   string          `json:"auth"`
	Flags  *int            `json:"flags"`
	Raw    string          `json:"raw"`
	RawLen int             `json:"raw_len"` // set where raw is cut off
	Fields json.RawMessage `json:"fields"`
}

func loadTranscript(t testing.TB, name string) []scenario {
	t.Helper()
	b, err := os.ReadFile("../testdata/wire/public-" + name + ".json")
	require.NoError(t, err)
	var transcript struct{ Scenarios []scenario }
	require.NoError(t, json.Unmarshal(b, &transcript))
	return transcript.Scenarios
}

// transcripts are the recordings, and how the server is to be run that is held against each.
var transcripts = []struct {
	name      string
	scenarios int
	options   []estest.Option
}{
	{"4.1.4", 190, []estest.Option{estest.WithPersona(estest.Persona414)}},
	{"5.0.11", 190, []estest.Option{estest.WithPersona(estest.Persona5011)}},
	{"23.10", 202, []estest.Option{estest.WithPersona(estest.Persona2310)}},
	{"23.10-anonymous", 150, []estest.Option{estest.WithPersona(estest.Persona2310), estest.WithAnonymousAccess()}},
}

// TestTranscripts sends the recorded requests of a client to our server and compares the replies with those of the real
// server.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	const atOnce = 8 // they hardly wait for anything
	type outcome struct {
		name     string
		problems []string
	}
	for _, tc := range transcripts {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			scenarios := loadTranscript(t, tc.name)
			require.Len(t, scenarios, tc.scenarios)
			outcomes := make([]outcome, len(scenarios))
			slots := make(chan struct{}, atOnce)
			var wg sync.WaitGroup
			for i := range scenarios {
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					outcomes[i] = outcome{scenarios[i].Name, play(tc.options, &scenarios[i])}
				})
			}
			wg.Wait()
			for _, o := range outcomes {
				t.Run(o.name, func(t *testing.T) {
					for _, problem := range o.problems {
						assert.Fail(t, problem)
					}
				})
			}
		})
	}
}

// pauses are the steps in which the client waited, so that the server checked its clock. The recordings do not have
// them.
var pauses = map[string]time.Duration{
	"read-max-age/2.5 seconds later":      2500 * time.Millisecond,
	"ps-checkpoint-tick/ack two, wait":    2500 * time.Millisecond,
	"ps-timeout/ack a: nothing more":      2500 * time.Millisecond,
	"ps-max-retry/then parked":            3 * time.Second,
	"ps-timeout-window/ack them: d and e": 2500 * time.Millisecond,
}

// player plays one scenario.
type player struct {
	sc         *scenario
	srv        *estest.Server
	clock      *estest.Clock
	lines      map[int]*line
	incoming   chan arrival
	labels     map[esproto.CorrelationID]string
	corrs      map[string]esproto.CorrelationID
	wanted     map[string]int // how many frames are expected, by line and label
	ours       translation
	beats      bool         // the scenario is about heartbeats: they are recorded, and little else is sent
	silent     bool         // heartbeats are not answered
	lively     atomic.Int64 // heartbeats that were answered
	taken      int          // number of received frames, without fences and their replies
	asked      int64        // heartbeats among it
	unanswered int          // requests without an answer, where heartbeats are recorded: each has one there
	problems   []string
	recorded   []side // per step
	answered   []side
}

// side has the answers of one server in a step.
type side struct {
	title string
	order string
	said  []spoken
}

// spoken is something that a server said, or did.
type spoken struct {
	conn  int
	cmd   string
	corr  string
	flags int
	body  []byte
	msg   proto.Message // nil if the body is no message
}

type arrival struct {
	line *line
	spoken
}

// line is one connection of the player.
type line struct {
	number int
	peer   *peer
	said   []spoken // all of it
	seen   int      // frames of earlier steps
	closed bool
	shut   bool // by us
}

func play(options []estest.Option, sc *scenario) []string {
	clock := estest.NewClock(time.Time{})
	srv, err := estest.Start(append(slices.Clone(options), estest.WithClock(clock),
		estest.WithHeartbeat(2*time.Second, time.Second))...)
	if err != nil {
		return []string{err.Error()}
	}
	p := &player{
		sc: sc, srv: srv, clock: clock, lines: map[int]*line{}, incoming: make(chan arrival, 1024),
		corrs: map[string]esproto.CorrelationID{}, labels: map[esproto.CorrelationID]string{{}: "zero"},
		wanted: map[string]int{}, ours: newTranslation(), silent: sc.Name == "conn-heartbeat-unanswered",
	}
	p.beats = p.silent || sc.Name == "conn-heartbeat-server"
	var readers sync.WaitGroup
	defer func() {
		for _, l := range p.lines {
			l.peer.nc.Close()
		}
		go func() {
			for range p.incoming {
				// Late frames must not block the readers.
			}
		}()
		readers.Wait()
		close(p.incoming)
		if err := srv.Close(); err != nil {
			p.fail("closing the server: %v", err)
		}
	}()
	for i := range sc.Steps {
		if !p.playStep(&sc.Steps[i], &readers) {
			return p.problems
		}
	}
	p.compare()
	return p.problems
}

func (p *player) fail(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

func (p *player) playStep(st *step, readers *sync.WaitGroup) bool {
	before := len(p.problems)
	want := side{title: st.Title, order: st.Order}
	got := want
	pause := pauses[p.sc.Name+"/"+st.Title]
	for i := range st.Frames {
		f := &st.Frames[i]
		switch f.Dir {
		case "open":
			p.open(f.Conn, readers)
		case "close":
			p.lines[f.Conn].shut = true
			p.lines[f.Conn].peer.nc.Close()
		case "send":
			settles := strings.HasSuffix(f.Cmd, "AckEvents") || strings.HasSuffix(f.Cmd, "NakEvents")
			if pause > 0 && !settles {
				p.fence()
				p.clock.Advance(pause)
				pause = 0
			}
			if f.Cmd == "HTTP" {
				got.said = append(got.said, p.sendHTTP(f))
				break
			}
			p.send(f)
			if settles { // it has no answer, and the next frame may go over another line
				p.fence()
			}
		case "recv", "closed":
			want.said = append(want.said, p.expect(st, f))
		}
		if len(p.problems) > before {
			p.problems[before] = fmt.Sprintf("step %q, frame %d (%s %s): %s",
				st.Title, i, f.Dir, f.Cmd, p.problems[before])
			return false
		}
	}
	if !p.beats {
		p.fence()
		p.clock.Advance(pause)
		p.fence()
	}
	for _, l := range p.lines {
		got.said = append(got.said, l.said[l.seen:]...)
		l.seen = len(l.said)
	}
	p.recorded, p.answered = append(p.recorded, want), append(p.answered, got)
	return true
}

func (p *player) open(number int, readers *sync.WaitGroup) {
	nc, err := dialServer(p.srv)
	if err != nil {
		p.fail("%v", err)
		return
	}
	l := &line{number: number, peer: &peer{nc: nc, fr: esproto.NewFrameReader(nc, 64<<10, esproto.MaxFrameSize)}}
	p.lines[number] = l
	readers.Go(func() { p.listen(l) })
}

// listen forwards the frames of a line and answers heartbeats.
func (p *player) listen(l *line) {
	for {
		h, _, err := l.peer.fr.Next()
		var body []byte
		if err == nil {
			body, err = l.peer.fr.Take()
		}
		if err != nil {
			p.incoming <- arrival{l, spoken{conn: l.number, cmd: "closed", corr: "connection"}}
			return
		}
		if h.Command == esproto.CmdHeartbeatRequest {
			if !p.silent {
				p.lively.Add(1)
				_, _ = l.peer.nc.Write(esproto.AppendFrame(nil, esproto.CmdHeartbeatResponse, h.CorrelationID, nil))
			}
			if !p.beats {
				continue
			}
		}
		id := h.CorrelationID
		p.incoming <- arrival{l, spoken{
			conn: l.number, cmd: commandName(h.Command), corr: string(id[:]), flags: int(h.Flags), body: body,
		}}
	}
}

// take waits for the next arrival and notes it.
func (p *player) take(limit <-chan time.Time) bool {
	select {
	case a := <-p.incoming:
		p.taken++
		if a.cmd == commandName(esproto.CmdHeartbeatRequest) {
			p.asked++
		} else {
			p.unanswered--
		}
		if a.cmd == "closed" {
			if a.line.closed = true; !a.line.shut {
				a.line.said = append(a.line.said, a.spoken)
			}
			return true
		}
		label, known := p.labels[esproto.CorrelationID([]byte(a.corr))]
		if !known {
			label = "server"
		}
		a.corr = label
		a.msg = parse(a.cmd, a.body)
		a.line.said = append(a.line.said, a.spoken)
		return true
	case <-limit:
		return false
	}
}

// nth returns the nth frame of a line under a label.
func (l *line) nth(corr string, n int) (spoken, bool) {
	for _, s := range l.said {
		if s.corr == corr {
			if n--; n == 0 {
				return s, true
			}
		}
	}
	return spoken{}, false
}

// expect waits for the answer of the real server at this point, and learns our server's values for its names and
// numbers.
func (p *player) expect(st *step, f *entry) spoken {
	s := spoken{conn: f.Conn, cmd: f.Cmd, corr: f.Corr}
	if f.Flags != nil {
		s.flags = *f.Flags
	}
	if f.Dir == "closed" {
		s.cmd, s.corr = "closed", "connection"
	}
	for _, ignored := range st.Ignore {
		if ignored == f.Cmd {
			return s
		}
	}
	if f.Cmd == "HTTP" {
		s.body = f.Fields
		return s
	}
	s.body, _ = hex.DecodeString(strings.TrimSuffix(f.Raw, "..."))
	key := fmt.Sprint(f.Conn, s.corr)
	p.wanted[key]++
	for began := time.Now(); ; {
		if got, ok := p.lines[f.Conn].nth(s.corr, p.wanted[key]); ok {
			if f.RawLen > 0 { // only the beginning was kept: the rest must be as long, and have the hash that was kept
				s.body = p.likeTruncated(f, got.body)
			}
			if s.msg = parse(s.cmd, s.body); s.msg != nil && got.msg != nil && s.cmd == got.cmd {
				p.ours.learn(own(s.msg, p.sc.Suffix), own(got.msg, p.sc.Suffix))
			}
			return s
		}
		if time.Since(began) > patience {
			p.fail("it does not come")
			return s
		}
		p.waitForMore()
	}
}

// waitForMore waits for frames that are on their way. If there are none, it advances the clock.
func (p *player) waitForMore() {
	if p.take(time.After(eagerness)) {
		return
	}
	before := p.taken
	if !p.beats {
		p.fence()
	} else if s := p.srv.Stats(); p.unanswered > 0 || s.FramesOut[esproto.CmdHeartbeatRequest] != p.asked ||
		s.FramesIn[esproto.CmdHeartbeatResponse] != p.lively.Load() {
		return // a question or an answer is under way
	}
	if p.taken == before {
		p.clock.Advance(500 * time.Millisecond)
	}
}

// fence waits until each line has been answered a ping, so that all that was said before is there.
func (p *player) fence() {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for _, l := range p.lines {
		if l.closed || l.shut {
			continue
		}
		id := newID()
		p.labels[id] = "fence"
		if _, err := l.peer.nc.Write(esproto.AppendFrame(nil, esproto.CmdPing, id, nil)); err != nil {
			continue // the server has closed it, which the reader will tell
		}
		for !l.closed {
			if _, ok := l.nth("fence", 1); ok {
				p.taken--
				break
			}
			if !p.take(limit.C) {
				p.fail("line %d does not answer a ping", l.number)
				return
			}
		}
		kept := l.said[:0]
		for _, s := range l.said {
			if s.corr != "fence" {
				kept = append(kept, s)
			}
		}
		l.said = kept
	}
}
