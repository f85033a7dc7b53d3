// Package chaos tests publishers and consumers of every kind together, on a single server and on a cluster of each
// version, while a seeded schedule of faults disturbs servers, links and groups. At the end it compares the results of
// the publishers and the messages of the consumers with the log.
//
// Read models with checkpoints, in streams and in files, are closed, crash and are taken over meanwhile. A crashed
// process is a client without a network and a store that refuses it; nothing of it is closed before another process
// goes on. These rules hold for them:
//   - No message is missed, and the messages of a key come in order in each process.
//   - A message that is handed out again came after the checkpoint that was saved last.
//   - No checkpoint is beyond a message that was not settled, or before one that was saved already.
//   - A save that fails is repeated, and an end in good order leaves nothing unsaved.
//   - A subscription ends by itself only after another one has taken its name.
//
// A rule counts only after it was seen to fail: break what it is about, and run the tests.
//
//	go test ./internal/chaos                                       some 300 faults, also as a plain user
//	go test -tags=chaos -timeout=2h -v ./internal/chaos            10 000 faults
//	go test -tags=chaos -run=TestChaos -v ./internal/chaos -chaos.seed=7 -chaos.round=3    one round again
//
// A seed always gives the same schedule. The state in which a fault finds the system also depends on the scheduler.
package chaos
