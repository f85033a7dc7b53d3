package estest

import (
	"encoding/json"
	"math"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// relLink is a link in an answer.
type relLink struct {
	Href string `json:"href"`
	Rel  string `json:"rel"`
}

// groupSummary is what the server tells of a group in a list. Positions are there from 21.10 on; null is none, and the
// number beside it then 0.
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

// listedGroup is a group in a list.
type listedGroup struct {
	groupSummary
	ConnectionCount int `json:"connectionCount"`
}

// groupInfo is what the server tells of a single group.
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

// gauge tells how much a counter has grown since it was looked at last.
type gauge struct {
	count int64
	at    time.Time
}

func (g *gauge) look(count int64, now time.Time) (grown int64, perSecond fraction) {
	grown = count - g.count
	if elapsed := now.Sub(g.at); elapsed > 0 {
		perSecond = fraction(math.Trunc(float64(grown) / elapsed.Seconds()))
	}
	g.count, g.at = count, now
	return grown, perSecond
}

func (i *groupInfo) listed() listedGroup {
	i.Links = i.Links[:1]
	return listedGroup{groupSummary: i.groupSummary, ConnectionCount: len(i.Connections)}
}

// groupInfo describes a group. Looking at it begins a new measurement, also where it is only listed.
func (s *Server) groupInfo(g *group) groupInfo {
	p, now := g.core.persona, g.core.now()
	info := groupInfo{
		groupSummary: groupSummary{
			EventStreamID: g.stream, GroupName: g.name, Status: groupStatus(g.live), TotalItemsProcessed: g.processed,
			LastProcessedEventNumber: g.checkpoint, LastKnownEventNumber: g.lastSeen,
		},
		Config: bodyOf(&g.settings), ReadBufferCount: g.buffer.len(), LiveBufferCount: g.newest.len(),
		RetryBufferCount: len(g.retry), Connections: []clientInfo{},
	}
	if p.groupTellsOutstanding {
		outstanding := len(g.outstanding)
		info.OutstandingMessagesCount = &outstanding
	}
	s.linkGroup(&info.groupSummary)
	info.CountSinceLastMeasurement, info.AverageItemsPerSecond = g.measured.look(g.processed, now)
	if p.groupTellsPositions {
		info.positions(&info.LastProcessedEventNumber, &info.LastCheckpointedEventPosition)
		info.positions(&info.LastKnownEventNumber, &info.LastKnownEventPosition)
		from, parked := strconv.FormatInt(g.settings.startFrom, 10), g.stats().Parked
		info.Config.StartPosition, info.ParkedMessageCount = &from, &parked
	}
	for _, c := range g.clients {
		info.TotalInFlightMessages += c.taken
		info.Connections = append(info.Connections, c.info(now))
	}
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

// positions tells a number as servers from 21.10 on do.
func (*groupSummary) positions(number *int64, position *json.RawMessage) {
	if *number < 0 {
		*number, *position = 0, json.RawMessage("null")
		return
	}
	*position = json.RawMessage(strconv.Quote(strconv.FormatInt(*number, 10)))
}

func (c *client) info(now time.Time) clientInfo {
	info := clientInfo{
		From: c.caller.addr, Username: "anonymous", TotalItemsProcessed: c.total,
		ExtraStatistics: c.latencyStatistics(), AvailableSlots: c.free(), InFlightMessages: c.taken,
	}
	if c.user != nil {
		info.Username = c.user.login
	}
	if c.group.core.persona.clientTellsConnection {
		info.ConnectionName = &c.caller.name
	}
	info.CountSinceLastMeasurement, info.AverageItemsPerSecond = c.measured.look(c.total, now)
	return info
}

// latencyWindow is how many latencies of a client are kept.
const latencyWindow = 1000

// latencyStatistics tells, in milliseconds, how long the client took to settle events.
func (c *client) latencyStatistics() []measurement {
	if len(c.latencies) == 0 {
		return []measurement{}
	}
	sorted := slices.Sorted(slices.Values(c.latencies))
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
