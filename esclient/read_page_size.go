package esclient

const (
	// surePage is how many events of the largest size, 16 MiB, fit into the largest frame.
	surePage = 4
	// pageShrink is what a page that was too large is divided by. Everybody waits while such a page comes and is
	// skipped, so that it is better to ask for too little than for too much once more.
	pageShrink = 8
	// pageShare is the part of the largest frame that a page is to take, in view of those before: an eighth is 8 MiB.
	// Servers do not look at how large a reply gets, but cut off a client to which they have something else to say
	// while more than 10 MiB are unsent.
	pageShare = 8
)

// pageSize is how many events a read asks for at a time: what the user wants, or less where the events are so large
// that a frame would not hold them.
type pageSize struct {
	wanted int
	now    int
	room   int // of a page, in bytes
}

func (c *Client) newPageSize(wanted int) pageSize {
	return pageSize{wanted: wanted, now: wanted, room: c.cfg.MaxFrameSize / pageShare}
}

// shrink follows a request for asked events whose reply was too large. It returns false if none asks for less.
func (p *pageSize) shrink(asked int) bool {
	if asked > surePage {
		p.now = max(asked/pageShrink, surePage)
	} else {
		p.now = max(asked/2, 1)
	}
	return asked > 1
}

// settle follows a page of so many events and bytes. What was shrunk grows again; yet if the events that follow are
// like these, the next page fits.
func (p *pageSize) settle(events, bytes int) {
	p.now = min(p.wanted, 2*p.now)
	if events > 0 {
		p.now = min(p.now, max(p.room/max(bytes/events, 1), 1))
	}
}

// expect prepares for events like so many others, which took so many bytes.
func (p *pageSize) expect(events, bytes int) {
	p.now = min(p.now, max(p.room/max(bytes/max(events, 1), 1), 1))
}
