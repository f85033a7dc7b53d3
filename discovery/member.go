package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// State is a node's state in gossip. Master, Slave and PreMaster of servers up to version 5 become Leader, Follower
// and PreLeader. An unknown word stays as it is.
type State string

// States in which a node serves clients.
const (
	StateLeader             State = "Leader"
	StateFollower           State = "Follower"
	StateReadOnlyReplica    State = "ReadOnlyReplica"
	StateReadOnlyLeaderless State = "ReadOnlyLeaderless" // a replica of a cluster that has no leader at the moment
	StateClone              State = "Clone"              // up to version 5: follows, but does not vote
)

// States in which a node serves no clients: it starts, takes part in an election, catches up, manages another node, or
// stops.
const (
	StateInitializing       State = "Initializing"
	StateDiscoverLeader     State = "DiscoverLeader"
	StateUnknown            State = "Unknown"
	StatePreReplica         State = "PreReplica"
	StateCatchingUp         State = "CatchingUp"
	StatePreLeader          State = "PreLeader"
	StateManager            State = "Manager"
	StateShuttingDown       State = "ShuttingDown"
	StateShutdown           State = "Shutdown"
	StatePreReadOnlyReplica State = "PreReadOnlyReplica"
	StateResigningLeader    State = "ResigningLeader"
)

// stateWords maps a word in lower case to the State.
var stateWords = func() map[string]State {
	words := map[string]State{"master": StateLeader, "slave": StateFollower, "premaster": StatePreLeader}
	for _, s := range []State{
		StateLeader, StateFollower, StateReadOnlyReplica, StateReadOnlyLeaderless, StateClone, StateInitializing,
		StateDiscoverLeader, StateUnknown, StatePreReplica, StateCatchingUp, StatePreLeader, StateManager,
		StateShuttingDown, StateShutdown, StatePreReadOnlyReplica, StateResigningLeader,
	} {
		words[strings.ToLower(string(s))] = s
	}
	return words
}()

func parseState(word string) State {
	if s, ok := stateWords[strings.ToLower(word)]; ok {
		return s
	}
	return State(word)
}

// Serves reports whether a node in this state serves clients. It is false for an unknown state.
func (s State) Serves() bool {
	switch s {
	case StateLeader, StateFollower, StateReadOnlyReplica, StateReadOnlyLeaderless, StateClone:
		return true
	}
	return false
}

// Member is a node of a cluster, as gossip describes it.
type Member struct {
	// InstanceID is the Guid of the node's process; a restart changes it.
	InstanceID string
	State      State
	// Alive is false for a node that the other nodes have lost.
	Alive bool
	// TCP is the endpoint to dial, after GossipConfig.Map: the secure or the plain one, by GossipConfig.SecureTCP. Its
	// port is 0 if the node has none of that kind.
	TCP Endpoint
	// HTTP is the endpoint that serves gossip, after GossipConfig.Map. Its port is 0 if the node advertises none.
	HTTP Endpoint
	// TimeStamp is the time of the description, by the clock of the node that made it: the node itself, or one that
	// has lost it. It may be zero.
	TimeStamp time.Time
	// LastCommitPosition and WriterCheckpoint are positions in the node's log. They show how far it lags.
	LastCommitPosition int64
	WriterCheckpoint   int64
	// EpochNumber grows with every election. The current leader has the highest.
	EpochNumber int64
	// NodePriority is the node's weight in elections.
	NodePriority int
	// ReadOnlyReplica is true for a node that can never lead. Servers up to version 5 have none.
	ReadOnlyReplica bool
	// Version is the server's version. Only 23.10 has it.
	Version string
}

// memberDoc is a member in either form: up to version 5 with externalHttp, from 20 on with httpEndPoint. A null is a
// field left out.
type memberDoc struct {
	InstanceID            string `json:"instanceId"`
	TimeStamp             string `json:"timeStamp"`
	State                 string `json:"state"`
	IsAlive               bool   `json:"isAlive"`
	ExternalTCPIP         string `json:"externalTcpIp"`
	ExternalTCPPort       int    `json:"externalTcpPort"`
	ExternalSecureTCPPort int    `json:"externalSecureTcpPort"`
	ExternalHTTPIP        string `json:"externalHttpIp"`
	ExternalHTTPPort      int    `json:"externalHttpPort"`
	HTTPEndPointIP        string `json:"httpEndPointIp"`
	HTTPEndPointPort      int    `json:"httpEndPointPort"`
	LastCommitPosition    int64  `json:"lastCommitPosition"`
	WriterCheckpoint      int64  `json:"writerCheckpoint"`
	EpochNumber           int64  `json:"epochNumber"`
	NodePriority          int    `json:"nodePriority"`
	IsReadOnlyReplica     bool   `json:"isReadOnlyReplica"`
	ESVersion             string `json:"esVersion"`
}

type gossipDoc struct {
	Members    []memberDoc `json:"members"`
	ServerIP   string      `json:"serverIp"`
	ServerPort int         `json:"serverPort"`
}

// view is the cluster as one node describes it.
type view struct {
	self    Endpoint // the HTTP endpoint of the node that answered, as it advertises it; may be zero
	members []Member
}

// maxMembers bounds the members of one answer, all of which are asked. A cluster has at most nine voting nodes.
const maxMembers = 256

// decoder turns gossip into a view.
type decoder struct {
	secure   bool                    // take the secure TCP port
	mapping  func(Endpoint) Endpoint // nil for none
	maxBytes int64
}

func (d *decoder) decode(r io.Reader) (*view, error) {
	body, err := io.ReadAll(io.LimitReader(r, d.maxBytes+1))
	if int64(len(body)) > d.maxBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, d.maxBytes)
	}
	if err != nil {
		return nil, err
	}
	var doc gossipDoc
	if err := json.Unmarshal(body, &doc); err != nil {
		if len(bytes.TrimSpace(body)) == 0 {
			err = errors.New("it is empty")
		}
		return nil, fmt.Errorf("%w: %w", ErrNotGossip, err)
	}
	if n := len(doc.Members); n == 0 || n > maxMembers {
		return nil, fmt.Errorf("%w: it lists %d members, instead of 1 to %d", ErrNotGossip, n, maxMembers)
	}
	v := &view{self: d.advertised(doc.ServerIP, doc.ServerPort), members: make([]Member, len(doc.Members))}
	for i := range doc.Members {
		v.members[i] = d.member(&doc.Members[i])
	}
	return v, nil
}

func (d *decoder) member(m *memberDoc) Member {
	// The client's setting selects the TCP port: a node may advertise both ports and listen on one only.
	tcpPort := m.ExternalTCPPort
	if d.secure {
		tcpPort = m.ExternalSecureTCPPort
	}
	http := d.advertised(m.HTTPEndPointIP, m.HTTPEndPointPort)
	if http.Port == 0 {
		http = d.advertised(m.ExternalHTTPIP, m.ExternalHTTPPort)
	}
	return Member{
		InstanceID:         m.InstanceID,
		State:              parseState(m.State),
		Alive:              m.IsAlive,
		TCP:                d.advertised(m.ExternalTCPIP, tcpPort),
		HTTP:               http,
		TimeStamp:          parseTime(m.TimeStamp),
		LastCommitPosition: m.LastCommitPosition,
		WriterCheckpoint:   m.WriterCheckpoint,
		EpochNumber:        m.EpochNumber,
		NodePriority:       m.NodePriority,
		ReadOnlyReplica:    m.IsReadOnlyReplica,
		Version:            m.ESVersion,
	}
}

// advertised returns the mapped endpoint, without its port if it cannot be dialed.
func (d *decoder) advertised(host string, port int) Endpoint {
	e := Endpoint{Host: host, Port: port}
	if port == 0 {
		return e
	}
	if d.mapping != nil {
		e = d.mapping(e)
	}
	// A dial to a wildcard address would reach this machine.
	if addr, ok := e.addr(); e.Validate() != nil || ok && addr.IsUnspecified() {
		e.Port = 0
	}
	return e
}

// parseTime reads a .NET time, in UTC if it has no zone. It returns the zero time for other text.
func parseTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}
