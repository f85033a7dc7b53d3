package chaos

import (
	"math/rand/v2"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

// member is one subscriber of a group.
type member struct {
	g     *group
	link  *link
	acked map[int64]int // the epoch of its ack, by the number of the event
	held  map[int64]int // the epoch in which it was handed out, until it is settled
	rand  *rand.Rand
}

func (m *member) consume(messages <-chan *message.Message) {
	for msg := range messages {
		number, _ := eventstore.EventNumberFromCtx(msg.Context())
		m.note(number, string(msg.Payload))
		d := m.decide()
		if d == ack {
			m.ack(msg, number)
			continue
		}
		if d == park {
			m.g.mu.Lock()
			m.g.parked[number] = append(m.g.parked[number], asked{time.Now(), m.link})
			if m.g.changing {
				m.g.unclear[number] = true
			}
			m.g.decided[number] = true
			delete(m.held, number)
			m.g.mu.Unlock()
			eventstore.NackWith(msg, eventstore.ActionPark, "chaos")
			continue
		}
		msg.Nack()
	}
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if !m.g.closing {
		m.g.w.report.breach(endedEarly, "group %q", m.g.name)
	}
}

func (m *member) decide() decision {
	m.g.mu.Lock()
	seed := m.rand.Uint64()
	m.g.mu.Unlock()
	return m.g.handle(rand.New(rand.NewPCG(seed, 1)))
}

// note notes that a message was handed out.
func (m *member) note(number int64, payload string) {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	g.w.report.count("messages handed out by groups", 1)
	if _, ok := m.held[number]; !ok {
		m.held[number] = g.epoch
	}
	if g.changing || m.held[number] != g.epoch {
		if g.changing && g.order != nil {
			key := g.order(payload)
			g.noteFirst(key, number)
			g.began[key] = g.began[key] || number == g.first[key]
		}
		return // the old group may have handed it out
	}
	if epoch, ok := m.acked[number]; ok && epoch == g.epoch {
		m.again(number, payload)
	}
	// The server distinguishes events by their ids. If both events of a message that was written twice are in flight,
	// the second one comes again late or never. So the first one counts.
	if before, again := g.handed[payload]; again && before <= number {
		return
	}
	g.handed[payload] = number
	if g.order != nil {
		g.noteOrder(g.order(payload), number)
	}
}

// noteOrder notes that a message of a key was handed out for the first time. g.mu is held.
func (g *group) noteOrder(key string, number int64) {
	g.noteFirst(key, number)
	last, begun := g.highest[key]
	switch {
	case !begun && number != g.first[key] && !g.began[key]:
		g.w.report.breach(disordered, "%s: %q begins with number %d, not with %d", g.name, key, number, g.first[key])
	case number < last:
		g.w.report.breach(disordered, "%s: number %d behind %d", g.name, number, last)
	}
	g.highest[key] = max(last, number)
}

// noteFirst notes that a message of a key was handed out. g.mu is held.
func (g *group) noteFirst(key string, number int64) {
	if first, ok := g.first[key]; !ok || number < first {
		g.first[key] = number
	}
}

// again notes that a message was handed out after its ack. g.mu is held.
func (m *member) again(number int64, payload string) {
	if why := m.excuse(); why != "" {
		m.g.w.report.count("handed out again after the ack, to a plain user: "+why, 1)
		return
	}
	m.g.w.report.breach(again, "%s: number %d, %q", m.g.name, number, payload)
}

// doubtTime is how long after a fault a message may come again because of it: a client checks its group for two
// seconds. Acks of that time are in doubt, too: a new group has perhaps not pushed their messages yet.
const doubtTime = 3 * time.Second

// excuse returns why a plain user cannot know whether a group still knows an ack; "" if the user can. g.mu is held.
func (m *member) excuse() string {
	lately := time.Now().Add(-doubtTime)
	switch g := m.g; {
	case !g.plain:
		return ""
	case g.shared:
		return "others take messages"
	case g.shaken, g.young.After(lately):
		return "no checkpoint"
	case g.hasDouble():
		return "a message is there twice"
	case m.link.lostUnused(lately):
		return "the connection was lost again"
	}
	return ""
}

// ack acks under the lock, so that no message is handed out between the ack and its note.
func (m *member) ack(msg *message.Message, number int64) {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	held := m.held[number]
	switch {
	case !msg.Ack():
		return
	case g.changing:
		g.unclear[number] = true
	case held == g.epoch: // or the new group may hand it out once more
		m.acked[number] = g.epoch
		fallthrough
	default:
		g.acked[number] = true
	}
	delete(m.held, number)
}
