package estest

import (
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// filter picks events of $all. One without a test picks everything that is not hidden.
type filter struct {
	onType   bool // the test is of the event's type; else of its stream's name
	prefixes []string
	regex    *regexp.Regexp
}

// filterOf reads a filter. Expressions have the syntax of Go; those with .NET extensions, such as lookahead, are
// refused.
func filterOf(m *esproto.Filter) (f filter, err error) {
	switch m.GetContext() {
	case esproto.Filter_StreamId:
	case esproto.Filter_EventType:
		f.onType = true
	default:
		return f, fmt.Errorf("a filter has no context %d", m.GetContext())
	}
	switch data := m.GetData(); {
	case len(data) == 0:
	case m.GetType() == esproto.Filter_Prefix:
		f.prefixes = data
	case m.GetType() == esproto.Filter_Regex:
		if f.regex, err = regexp.Compile(data[0]); err != nil {
			return f, fmt.Errorf("the filter's regular expression: %w", err)
		}
	default:
		return f, fmt.Errorf("a filter has no type %d", m.GetType())
	}
	return f, nil
}

func (f *filter) picks(r *eventlog.Record) bool {
	subject := r.Stream.Name
	if f.onType {
		subject = r.Type
	}
	if f.regex != nil {
		return f.regex.MatchString(subject)
	}
	for _, prefix := range f.prefixes {
		if strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	return len(f.prefixes) == 0
}

func (c *caller) readFilteredForward(f *frame) error {
	return c.readFiltered(f, true)
}

func (c *caller) readFilteredBackward(f *frame) error {
	return c.readFiltered(f, false)
}

func (c *caller) readFiltered(f *frame, forward bool) error {
	var m esproto.FilteredReadAllEvents
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	picked, err := filterOf(m.GetFilter())
	if err != nil {
		return err
	}
	scan := eventlog.Scan{
		Picks: picked.picks, Forward: forward, Count: int(m.GetMaxCount()), Window: int(m.GetMaxSearchWindow()),
	}
	if scan.Window <= 0 {
		scan.Window = scan.Count
	}
	from := eventlog.Position{Commit: m.GetCommitPosition(), Prepare: m.GetPreparePosition()}
	p := c.core.log.ReadAll(f.user, from, &scan)
	if p.Result == esproto.ReadAllEventsCompleted_AccessDenied {
		c.sendAllPage(allReply(forward), f, &p, false) // by the reply to the other command, as the real server errs
		return nil
	}
	c.sendFilteredPage(f, &p, m.GetResolveLinkTos(), forward)
	return nil
}

func (c *caller) sendFilteredPage(f *frame, p *eventlog.AllPage, resolveLinks, forward bool) {
	reply := esproto.CmdFilteredReadAllEventsForwardCompleted
	if !forward {
		reply = esproto.CmdFilteredReadAllEventsBackwardCompleted
	}
	c.send(reply, f.id, func(b []byte) []byte {
		b = c.appendPositioned(b, f.user, p.Records, resolveLinks)
		// The results of both kinds of reads have the same numbers.
		result := esproto.FilteredReadAllEventsCompleted_FilteredReadAllResult(p.Result)
		return c.core.persona.marshal(b, &esproto.FilteredReadAllEventsCompleted{
			CommitPosition:      proto.Int64(p.From.Commit),
			PreparePosition:     proto.Int64(p.From.Prepare),
			NextCommitPosition:  proto.Int64(p.Next.Commit),
			NextPreparePosition: proto.Int64(p.Next.Prepare),
			IsEndOfStream:       proto.Bool(p.End),
			Result:              &result,
			Error:               proto.String(p.Text),
		})
	})
}
