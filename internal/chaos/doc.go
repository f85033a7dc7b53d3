// Package chaos tests publishers and consumers of every kind together, on a single server and on a cluster of each
// version, while a seeded schedule of faults disturbs servers, links and groups. At the end it compares the results of
// the publishers and the messages of the consumers with the log.
//
//	go test ./internal/chaos                                       some 200 faults
//	go test -tags=chaos -timeout=2h -v ./internal/chaos            10 000 faults
//	go test -tags=chaos -run=TestChaos -v ./internal/chaos -chaos.seed=7 -chaos.round=3    one round again
//
// A seed always gives the same schedule. The state in which a fault finds the system also depends on the scheduler.
package chaos
