package estest

import (
	"cmp"
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/groups"
)

// relLink is a link with its relation.
type relLink struct {
	Href string `json:"href"`
	Rel  string `json:"rel"`
}

// groupSummary is a group in a list. Versions from 21.10 on have positions. A missing position is null, and its number
// is 0.
type groupSummary struct {
	Links                         []relLink       `json:"links"`
	EventStreamID                 string          `json:"eventStreamId"`
	GroupName                     string          `json:"groupName"`
	ParkedMessageURI              string          `json:"parkedMessageUri"`
	GetMessagesURI                string          `json:"getMessagesUri"`
	Status                        string          `json:"status"`
	AverageItemsPerSecond         fraction        `json:"averageItemsPerSecond"`
	TotalItemsProcessed           int64           `json:"totalItemsProcessed"`
	LastProcessedEventNumber      int64           `json:"lastProcessedEventNumber"`
	LastCheckpointedEventPosition json.RawMessage `json:"lastCheckpointedEventPosition,omitempty"`
	LastKnownEventNumber          int64           `json:"lastKnownEventNumber"`
	LastKnownEventPosition        json.RawMessage `json:"lastKnownEventPosition,omitempty"`
	TotalInFlightMessages         int             `json:"totalInFlightMessages"`
}

// listedGroup is a groupSummary with the number of clients.
type listedGroup struct {
	groupSummary
	ConnectionCount int `json:"connectionCount"`
}

// groupInfo describes a single group.
type groupInfo struct {
	groupSummary
	Config                    groupBody    `json:"config"`
	CountSinceLastMeasurement int64        `json:"countSinceLastMeasurement"`
	ReadBufferCount           int          `json:"readBufferCount"`
	LiveBufferCount           int          `json:"liveBufferCount"`
	RetryBufferCount          int          `json:"retryBufferCount"`
	OutstandingMessagesCount  *int         `json:"outstandingMessagesCount,omitempty"` // from 5.0 on
	Connections               []clientInfo `json:"connections"`
	ParkedMessageCount        *int         `json:"parkedMessageCount,omitempty"` // from 21.10 on
}

type clientInfo struct {
	From                      string        `json:"from"`
	Username                  string        `json:"username"`
	AverageItemsPerSecond     fraction      `json:"averageItemsPerSecond"`
	TotalItemsProcessed       int64         `json:"totalItemsProcessed"`
	CountSinceLastMeasurement int64         `json:"countSinceLastMeasurement"`
	ExtraStatistics           []measurement `json:"extraStatistics"`
	AvailableSlots            int           `json:"availableSlots"`
	InFlightMessages          int           `json:"inFlightMessages"`
	ConnectionName            *string       `json:"connectionName,omitempty"` // from 20.6 on
}

type measurement struct {
	Key   string `json:"key"`
	Value int64  `json:"value"`
}

func (i *groupInfo) listed() listedGroup {
	i.Links = i.Links[:1]
	return listedGroup{groupSummary: i.groupSummary, ConnectionCount: len(i.Connections)}
}

// groupInfo describes a group. Each call begins a new measurement, also for a list.
func (s *Server) groupInfo(g *groups.Group) groupInfo {
	p, n := s.core.persona, g.Counters()
	info := groupInfo{
		groupSummary: groupSummary{
			EventStreamID: g.Stream, GroupName: g.Name, Status: groupStatus(n.Live), TotalItemsProcessed: n.Processed,
			LastProcessedEventNumber: n.Checkpoint, LastKnownEventNumber: n.LastSeen,
		},
		Config: bodyOf(&g.Settings), ReadBufferCount: n.Waiting, LiveBufferCount: n.Newest,
		RetryBufferCount: n.Retrying, Connections: []clientInfo{},
	}
	if p.groupTellsOutstanding {
		info.OutstandingMessagesCount = &n.InFlight
	}
	s.linkGroup(&info.groupSummary)
	pushed, perSecond := g.Measure()
	info.CountSinceLastMeasurement, info.AverageItemsPerSecond = pushed, fraction(perSecond)
	if p.groupTellsPositions {
		info.positions(&info.LastProcessedEventNumber, &info.LastCheckpointedEventPosition)
		info.positions(&info.LastKnownEventNumber, &info.LastKnownEventPosition)
		from := strconv.FormatInt(g.Settings.StartFrom, 10)
		info.Config.StartPosition, info.ParkedMessageCount = &from, &n.Parked
	}
	for _, c := range g.Clients() {
		info.TotalInFlightMessages += c.InFlight()
		info.Connections = append(info.Connections, p.clientInfo(c))
	}
	return info
}

// groupOnAllInfo describes a group on $all.
func (s *Server) groupOnAllInfo(g *groups.AllGroup) groupInfo {
	buffered, newest, last, live := g.Lag()
	start := g.Start()
	info := groupInfo{
		groupSummary: groupSummary{
			EventStreamID: eventlog.AllStream, GroupName: g.Name, Status: groupStatus(live),
			LastCheckpointedEventPosition: json.RawMessage("null"), LastKnownEventPosition: json.RawMessage("null"),
		},
		Config: bodyOf(&g.Settings), ReadBufferCount: buffered, LiveBufferCount: newest, Connections: []clientInfo{},
		OutstandingMessagesCount: new(int), ParkedMessageCount: new(int),
	}
	if last != nil {
		info.LastKnownEventPosition = json.RawMessage(strconv.Quote(last.Position().String()))
	}
	info.Config.StartPosition = &start
	s.linkGroup(&info.groupSummary)
	return info
}

func groupStatus(live bool) string {
	if live {
		return "Live"
	}
	return "Behind"
}

func (s *Server) linkGroup(g *groupSummary) {
	path := s.HTTPURL() + "/subscriptions/" + url.PathEscape(g.EventStreamID) + "/" + url.PathEscape(g.GroupName)
	g.Links = []relLink{{path + "/info", "detail"}, {path + "/replayParked", "replayParked"}}
	g.GetMessagesURI = path + "/1"
	g.ParkedMessageURI = s.HTTPURL() + "/streams/%24persistentsubscription-" +
		url.PathEscape(g.EventStreamID) + "::" + url.PathEscape(g.GroupName) + "-parked"
}

// positions gives a number the form of servers from 21.10 on.
func (*groupSummary) positions(number *int64, position *json.RawMessage) {
	if *number < 0 {
		*number, *position = 0, json.RawMessage("null")
		return
	}
	*position = json.RawMessage(strconv.Quote(strconv.FormatInt(*number, 10)))
}

func (p *persona) clientInfo(c *groups.Client) clientInfo {
	peer := c.Peer()
	info := clientInfo{
		From: peer.Address, Username: cmp.Or(peer.Login, "anonymous"), TotalItemsProcessed: c.Total(),
		ExtraStatistics: latencyStatistics(c.Latencies()), AvailableSlots: c.Free(), InFlightMessages: c.InFlight(),
	}
	if p.clientTellsConnection {
		info.ConnectionName = &peer.Connection
	}
	pushed, perSecond := c.Measure()
	info.CountSinceLastMeasurement, info.AverageItemsPerSecond = pushed, fraction(perSecond)
	return info
}

// latencyStatistics returns statistics of latencies in milliseconds, which must be in ascending order.
func latencyStatistics(sorted []int64) []measurement {
	if len(sorted) == 0 {
		return []measurement{}
	}
	sum := int64(0)
	for _, ms := range sorted {
		sum += ms
	}
	at := func(percent float64) int64 {
		return sorted[min(int(percent/100*float64(len(sorted))), len(sorted)-1)]
	}
	all := []measurement{
		{"Mean", sum / int64(len(sorted))}, {"Median", sorted[len(sorted)/2]}, {"Fastest", sorted[0]},
	}
	for i := range 5 {
		all = append(all, measurement{"Quintile " + strconv.Itoa(i+1), at(float64(20 * i))})
	}
	for _, percent := range []float64{90, 95, 99, 99.5, 99.9} {
		all = append(all, measurement{strconv.FormatFloat(percent, 'f', -1, 64) + "%", at(percent)})
	}
	return append(all, measurement{"Highest", sorted[len(sorted)-1]})
}
