// Package chaos tests publishers and consumers of every kind together, on a single server and on a cluster of each
// version, while a seeded schedule of faults disturbs servers, links and groups. At the end it compares the results of
// the publishers and the messages of the consumers with the log.
//
// Meanwhile read models with checkpoints, in streams and in files, are closed, crash, or lose their name to another
// process. A crashed process is a client without a network and a store that refuses it. Nothing of it is closed before
// another process goes on. These rules hold for them:
//   - No message is missed, and the messages of a key come in order in each process.
//   - Only messages after the latest saved checkpoint are handed out again.
//   - No checkpoint is beyond an unsettled message, or before an earlier checkpoint.
//   - A failed save is repeated, and a closed read model has saved everything.
//   - A subscription that is not closed ends only after another one has taken its name.
//
// A new rule must be seen to fail: break the code that it is about, and run the tests.
//
//	go test ./internal/chaos                                       some 300 faults, also as a plain user
//	go test -tags=chaos -timeout=2h -v ./internal/chaos            10 000 faults
//	go test -tags=chaos -run=TestChaos -v ./internal/chaos -chaos.seed=7 -chaos.round=3    one round again
//
// A seed always gives the same schedule. The state in which a fault finds the system also depends on the scheduler.
package chaos
