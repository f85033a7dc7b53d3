package esclient

const (
	// surePage is how many events of the largest size, 16 MiB, fit into the largest frame.
	surePage = 4
	// pageShrink divides the size of a page that was too large. All other replies wait while such a page is received
	// and skipped. So asking for too few events is better than asking for too many once more.
	pageShrink = 8
	// pageShare is the part of the largest frame that a page should take, judged by earlier pages: an eighth is 8 MiB.
	// Servers do not limit the size of a reply, but end the connection of a client if they have another reply to send
	// while more than 10 MiB are unsent.
	pageShare = 8
)

// pageSize is how many events a read requests at a time: the number of the caller, or less if a frame could not hold so
// many.
type pageSize struct {
	wanted int
	now    int
	room   int // for a page, in bytes
}

func (c *Client) newPageSize(wanted int) pageSize {
	return pageSize{wanted: wanted, now: wanted, room: c.cfg.MaxFrameSize / pageShare}
}

// shrink reacts to a reply with asked events that was too large. It returns false if the page cannot be smaller.
func (p *pageSize) shrink(asked int) bool {
	if asked > surePage {
		p.now = max(asked/pageShrink, surePage)
	} else {
		p.now = max(asked/2, 1)
	}
	return asked > 1
}

// settle notes the size of a page. The page size grows again after a shrink, but only so far that the next page fits if
// its events are like these.
func (p *pageSize) settle(events, bytes int) {
	p.now = min(p.wanted, 2*p.now)
	if events > 0 {
		p.now = min(p.now, max(p.room/max(bytes/events, 1), 1))
	}
}

// expect sets the page size for events like those given.
func (p *pageSize) expect(events, bytes int) {
	p.now = min(p.now, max(p.room/max(bytes/max(events, 1), 1), 1))
}
