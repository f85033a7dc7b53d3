package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

func ExampleParseEndpoint() {
	for _, s := range []string{"node1.example:1113", "[fd00::1]:1113", "node1.example"} {
		e, err := discovery.ParseEndpoint(s)
		if err != nil {
			panic(err)
		}
		fmt.Println(e.WithDefaultPort(discovery.DefaultPort))
	}
	// Output:
	// node1.example:1113
	// [fd00::1]:1113
	// node1.example:1113
}

// Nodes whose addresses are known take turns. One to which no connection could be made waits until the others had
// theirs.
func ExampleNewStatic() {
	nodes, err := discovery.NewStatic(discovery.StaticConfig{Endpoints: []discovery.Endpoint{
		{Host: "10.0.0.1", Port: 1113}, {Host: "10.0.0.2", Port: 1113},
	}})
	if err != nil {
		panic(err)
	}
	first, _ := nodes.Next(context.Background()) // fails only when the context has ended
	nodes.Report(first.Endpoint, errors.New("connection refused"))
	second, _ := nodes.Next(context.Background())
	fmt.Println(first.Endpoint, second.Endpoint)
	// Output: 10.0.0.1:1113 10.0.0.2:1113
}

// node answers as a node of a cluster of two whose leader is the other one.
func node() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"members":[
			{"state":"Leader","isAlive":true,"externalTcpIp":"172.17.0.2","externalTcpPort":1113,"epochNumber":7},
			{"state":"Follower","isAlive":true,"externalTcpIp":"172.17.0.3","externalTcpPort":1113,"epochNumber":7}]}`)
	}))
}

// A cluster is found by asking any of its nodes who leads. This one runs in containers: the addresses that it tells are
// turned into those under which it can be reached from here.
func ExampleNewGossip() {
	seed := node()
	defer seed.Close()
	endpoint, err := discovery.ParseEndpoint(strings.TrimPrefix(seed.URL, "http://"))
	if err != nil {
		panic(err)
	}
	cluster, err := discovery.NewGossip(discovery.GossipConfig{
		Seeds: []discovery.Endpoint{endpoint},
		Map: func(advertised discovery.Endpoint) discovery.Endpoint {
			if advertised.Host == "172.17.0.2" {
				return discovery.Endpoint{Host: "localhost", Port: 11131}
			}
			return discovery.Endpoint{Host: "localhost", Port: 11132}
		},
	})
	if err != nil {
		panic(err)
	}
	target, err := cluster.Next(context.Background())
	if err != nil {
		panic(err)
	}
	fmt.Println(target.Endpoint, target.State, target.Leader())
	// Output: localhost:11131 Leader true
}

// An attempt that finds no node tells why each candidate was not taken, and is not the last: try again after a pause.
func ExampleError() {
	cluster, err := discovery.NewGossip(discovery.GossipConfig{
		Seeds: []discovery.Endpoint{{Host: "127.0.0.1", Port: 1}},
	})
	if err != nil {
		panic(err)
	}
	_, err = cluster.Next(context.Background())
	var failed *discovery.Error
	if errors.As(err, &failed) {
		fmt.Println(errors.Is(err, discovery.ErrNoNode), failed.Reasons[0].Step, failed.Reasons[0].Endpoint)
	}
	// Output: true gossip 127.0.0.1:1
}
