// Package chaos holds the tests that work under faults: publishers and consumers of every kind, on a single server and
// on a cluster of each version, while a seeded schedule of faults disturbs servers, links and groups. What publishers
// were told and what consumers were handed is held against what the log has in the end.
//
//	go test ./internal/chaos                                       some 200 faults
//	go test -tags=chaos -timeout=2h -v ./internal/chaos            10 000 faults
//	go test -tags=chaos -run=TestChaos -v ./internal/chaos -chaos.seed=7 -chaos.round=3    one round again
//
// A seed gives the same schedule of faults each time. What it meets depends on the scheduler too.
package chaos
