package estest_test

import (
	"fmt"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// Acknowledged events survive the loss of the leader.
func ExampleStartCluster() {
	cluster, err := estest.StartCluster(3, estest.WithElectionDelay(10*time.Millisecond))
	if err != nil {
		panic(err)
	}
	defer cluster.Close()
	if _, err := cluster.Node(0).Append("orders", estest.Event{Type: "placed"}); err != nil {
		panic(err)
	}
	if err := cluster.Kill(0); err != nil {
		panic(err)
	}
	for cluster.Leader() < 0 { // for the election delay
		time.Sleep(time.Millisecond)
	}
	events, err := cluster.Node(cluster.Leader()).Read("orders", 0, 10)
	if err != nil {
		panic(err)
	}
	fmt.Printf("node %d leads and has %d event\n", cluster.Leader(), len(events))
	// Output: node 1 leads and has 1 event
}
