package esclient

import (
	"context"
	"errors"
)

// resolvedHere is the largest page whose links the client resolves itself: each link needs a read.
const resolvedHere = 64

// readResolving reads a page with its links resolved. Servers up to 5.0 refuse a whole page if the user may not read
// the target of one link, although they push the same link. The client then resolves the links one by one. So such a
// link does not end the subscription: it is Unresolved.
func (s *Subscription) readResolving(
	ctx context.Context, read func(ctx context.Context, resolveLinks bool) (end bool, err error),
) (end bool, err error) {
	end, err = read(ctx, s.resolveLinks)
	if !s.resolveLinks || !errors.Is(err, ErrAccessDenied) {
		return end, err
	}
	before := s.cursor
	s.pageSize.now = min(s.pageSize.now, resolvedHere)
	if end, err = read(ctx, false); err == nil {
		err = s.resolvePage(ctx)
	}
	if err != nil {
		s.cursor, s.page, s.looked = before, nil, UnknownPosition // read it again
		return false, err
	}
	return end, nil
}

func (s *Subscription) resolvePage(ctx context.Context) error {
	for i := range s.page {
		e := &s.page[i]
		if e.Type != linkType {
			continue
		}
		target, err := s.target(ctx, e)
		if err != nil {
			return err
		}
		if target == nil {
			e.Unresolved = true
			continue
		}
		link := *e
		*e = *target
		e.Link, e.Position = &link, link.Position
		e.markUnresolved()
	}
	return nil
}

// target reads the target of a link; nil if there is none, or if the user may not read it.
func (s *Subscription) target(ctx context.Context, link *Event) (*Event, error) {
	stream, number, ok := link.LinkTarget()
	if !ok {
		return nil, nil
	}
	e, err := s.c.ReadEvent(ctx, stream, number, ReadEventOptions{})
	for _, none := range []error{
		ErrEventNotFound, ErrStreamNotFound, ErrStreamDeleted, ErrAccessDenied, ErrInvalidArgument,
	} {
		if errors.Is(err, none) {
			return nil, nil
		}
	}
	return e, err
}
