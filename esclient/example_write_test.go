package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// exampleClient stands for a client of an EventStore that is running somewhere.
func exampleClient() (c *esclient.Client, closeAll func()) {
	return exampleClientWith(func(*esclient.Config) {})
}

func exampleClientWith(change func(*esclient.Config)) (c *esclient.Client, closeAll func()) {
	srv, err := estest.Start()
	if err != nil {
		log.Fatal(err)
	}
	cfg, err := esclient.ParseConnectionString(srv.ConnectionString())
	if err != nil {
		log.Fatal(err)
	}
	cfg.HTTPEndpoint = srv.HTTPURL() // not the usual port
	change(&cfg)
	c, err = esclient.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	return c, func() {
		c.Close()
		srv.Close()
	}
}

// Write two events to a new stream, and a third after them. A wrong expected version is an error.
func ExampleClient_Append() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	placed, err := esclient.JSONEvent("placed", map[string]int{"total": 12})
	if err != nil {
		log.Fatal(err)
	}
	res, err := client.Append(ctx, "order-1", esclient.NoStream, placed, esclient.EventData{Type: "confirmed"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the last event has the number", res.LastEventNumber)

	last := esclient.ExpectedVersion(res.LastEventNumber)
	_, err = client.Append(ctx, "order-1", last, esclient.EventData{Type: "paid"})
	fmt.Println("appended behind it:", err == nil)
	_, err = client.Append(ctx, "order-1", last, esclient.EventData{Type: "cancelled"})
	var wrong *esclient.WrongExpectedVersionError
	if errors.As(err, &wrong) {
		fmt.Println("another writer was faster: the stream is at", wrong.Current)
	}
	// Output:
	// the last event has the number 1
	// appended behind it: true
	// another writer was faster: the stream is at 2
}

// A status tells which of two writers came first.
func ExampleClient_AppendConditional() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	for range 2 {
		res, err := client.AppendConditional(ctx, "order-1", esclient.NoStream, esclient.EventData{Type: "placed"})
		if err != nil {
			log.Fatal(err)
		}
		switch res.Status {
		case esclient.AppendSucceeded:
			fmt.Println("written as", res.FirstEventNumber)
		case esclient.AppendVersionMismatch:
			fmt.Println("the stream is at", res.Current)
		case esclient.AppendStreamDeleted:
			fmt.Println("the stream is gone")
		}
	}
	// Output:
	// written as 0
	// the stream is at 0
}

// A source of events, here a channel, is written in order until it ends or the context does.
func ExampleClient_AppendFrom() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)

	readings := make(chan int)
	go func() {
		defer close(readings)
		for n := range 1000 {
			readings <- n
		}
	}()
	source := func(yield func(esclient.EventData, error) bool) {
		for {
			select {
			case n, more := <-readings:
				if !more {
					return
				}
				event, err := esclient.JSONEvent("measured", n)
				if !yield(event, err) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
	res, err := client.AppendFrom(ctx, "sensor-1", esclient.NoStream, source, esclient.AppendFromOptions{
		Failed: cancel, // an append that fails must not wait for the next reading
	})
	fmt.Println(res.Events, "written, the last has the number", res.LastEventNumber, err)
	// Output:
	// 1000 written, the last has the number 999 <nil>
}

// A deleted stream comes back with the next event.
func ExampleClient_DeleteStream() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	res, err := client.Append(ctx, "cart-1", esclient.NoStream, esclient.EventData{Type: "filled"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.DeleteStream(ctx, "cart-1", esclient.ExpectedVersion(res.LastEventNumber)); err != nil {
		log.Fatal(err)
	}
	for _, err := range client.ReadStream(ctx, "cart-1", esclient.ReadOptions{}) {
		fmt.Println("not found:", errors.Is(err, esclient.ErrStreamNotFound))
	}
	res, err = client.Append(ctx, "cart-1", esclient.NoStream, esclient.EventData{Type: "filled"})
	fmt.Println("back with number", res.FirstEventNumber, err)
	// Output:
	// not found: true
	// back with number 1 <nil>
}

// A stream with a tombstone never comes back.
func ExampleClient_TombstoneStream() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	if _, err := client.Append(ctx, "user-1", esclient.Any, esclient.EventData{Type: "registered"}); err != nil {
		log.Fatal(err)
	}
	_, err := client.TombstoneStream(ctx, "user-1", esclient.StreamExists)
	if errors.Is(err, esclient.ErrNotSupported) {
		fmt.Println("this server cannot tell whether a stream exists when it deletes")
	}
	if _, err := client.TombstoneStream(ctx, "user-1", esclient.Any); err != nil {
		log.Fatal(err)
	}
	_, err = client.Append(ctx, "user-1", esclient.Any, esclient.EventData{Type: "registered"})
	fmt.Println("deleted for ever:", errors.Is(err, esclient.ErrStreamDeleted))
	// Output:
	// this server cannot tell whether a stream exists when it deletes
	// deleted for ever: true
}

// Write more events than one append can have in a transaction, which makes them visible at once.
func ExampleClient_StartTransaction() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	tx, err := client.StartTransaction(ctx, "import-1", esclient.NoStream)
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		if err := tx.Write(ctx, esclient.EventData{Type: "row"}, esclient.EventData{Type: "row"}); err != nil {
			log.Fatal(err)
		}
	}
	res, err := tx.Commit(ctx)
	fmt.Println("events", res.FirstEventNumber, "to", res.LastEventNumber, err)
	// Output: events 0 to 5 <nil>
}

// Another process goes on with a transaction by its id.
func ExampleClient_ContinueTransaction() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	tx, err := client.StartTransaction(ctx, "import-1", esclient.Any)
	if err != nil {
		log.Fatal(err)
	}
	if err := tx.Write(ctx, esclient.EventData{Type: "row"}); err != nil {
		log.Fatal(err)
	}
	id := tx.ID() // to be kept somewhere

	tx, err = client.ContinueTransaction(id, "import-1", esclient.Any)
	if err != nil {
		log.Fatal(err)
	}
	if err := tx.Write(ctx, esclient.EventData{Type: "row"}); err != nil {
		log.Fatal(err)
	}
	res, err := tx.Commit(ctx)
	fmt.Println("the last event has the number", res.LastEventNumber, err)
	// Output: the last event has the number 1 <nil>
}

// A stream keeps its last ten events, and its other metadata.
func ExampleClient_SetStreamMetadata() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	raw := []byte(`{"owner":"anna"}`)
	if _, err := client.SetRawStreamMetadata(ctx, "sensor-1", esclient.NoStream, raw); err != nil {
		log.Fatal(err)
	}
	metadata, version, err := client.StreamMetadata(ctx, "sensor-1")
	if err != nil {
		log.Fatal(err)
	}
	metadata.MaxCount = 10
	metadata.ACL.Write = []string{"sensors", esclient.RoleAdmins}
	if _, err := client.SetStreamMetadata(ctx, "sensor-1", version, metadata); err != nil {
		log.Fatal(err)
	}
	raw, version, err = client.RawStreamMetadata(ctx, "sensor-1")
	fmt.Println(version, string(raw), err)
	// Output: 1 {"$maxCount":10,"$acl":{"$w":["sensors","$admins"]},"owner":"anna"} <nil>
}

// A stream without metadata keeps everything, and its rights are the default ones.
func ExampleClient_StreamMetadata() {
	client, closeAll := exampleClient()
	defer closeAll()

	metadata, version, err := client.StreamMetadata(context.Background(), "sensor-1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("version:", version)
	fmt.Println("keeps everything:", metadata.MaxCount == 0 && metadata.MaxAge == 0 && metadata.TruncateBefore == 0)
	fmt.Println("says who may read:", metadata.ACL.Read != nil)
	// Output:
	// version: no stream
	// keeps everything: true
	// says who may read: false
}

// Only administrators may delete streams whose rights do not say otherwise.
func ExampleClient_SetSystemSettings() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	settings, version, err := client.SystemSettings(ctx)
	if err != nil {
		log.Fatal(err)
	}
	settings.UserStreams.Delete = []string{esclient.RoleAdmins}
	if _, err := client.SetSystemSettings(ctx, version, settings); err != nil {
		log.Fatal(err)
	}
	ops := esclient.WithCredentials(ctx, esclient.Credentials{Login: "ops", Password: "changeit"})
	_, err = client.DeleteStream(ops, "order-1", esclient.Any)
	fmt.Println(errors.Is(err, esclient.ErrAccessDenied))
	// Output: true
}

// A group is made, changed and removed.
func ExampleClient_CreatePersistent() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	settings := esclient.DefaultPersistentSettings()
	settings.StartFrom = 0
	settings.MaxRetryCount = 3
	fmt.Println("created:", client.CreatePersistent(ctx, "orders", "invoices", settings))
	err := client.CreatePersistent(ctx, "orders", "invoices", settings)
	fmt.Println("exists already:", errors.Is(err, esclient.ErrGroupExists))

	settings.Strategy = esclient.DispatchToSingle
	fmt.Println("updated:", client.UpdatePersistent(ctx, "orders", "invoices", settings))
	settings.ReadBatchSize = settings.BufferSize
	err = client.UpdatePersistent(ctx, "orders", "invoices", settings)
	fmt.Println("it would never read:", errors.Is(err, esclient.ErrInvalidArgument))

	fmt.Println("deleted:", client.DeletePersistent(ctx, "orders", "invoices"))
	// Output:
	// created: <nil>
	// exists already: true
	// updated: <nil>
	// it would never read: true
	// deleted: <nil>
}

// Metadata that is JSON already is written as it is.
func ExampleClient_SetRawStreamMetadata() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	if _, err := client.SetRawStreamMetadata(ctx, "sensor-1", esclient.Any, []byte(`{ "$maxAge": 3600 }`)); err != nil {
		log.Fatal(err)
	}
	raw, version, err := client.RawStreamMetadata(ctx, "sensor-1")
	fmt.Println(version, string(raw), err)
	metadata, _, err := client.StreamMetadata(ctx, "sensor-1")
	fmt.Println(metadata.MaxAge, err)
	// Output:
	// 0 { "$maxAge": 3600 } <nil>
	// 1h0m0s <nil>
}

// The version that was expected when the transaction began is checked when it is committed.
func ExampleTransaction_Commit() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	tx, err := client.StartTransaction(ctx, "import-1", esclient.NoStream)
	if err != nil {
		log.Fatal(err)
	}
	if err := tx.Write(ctx, esclient.EventData{Type: "row"}); err != nil {
		log.Fatal(err)
	}
	if _, err := client.Append(ctx, "import-1", esclient.Any, esclient.EventData{Type: "note"}); err != nil {
		log.Fatal(err)
	}
	_, err = tx.Commit(ctx)
	fmt.Println("another writer was faster:", errors.Is(err, esclient.ErrWrongExpectedVersion))
	// Output: another writer was faster: true
}

// One call acts for another user than the connection.
func ExampleWithCredentials() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	ops := esclient.WithCredentials(ctx, esclient.Credentials{Login: "ops", Password: "changeit"})
	_, err := client.Append(ops, "$secrets", esclient.Any, esclient.EventData{Type: "note"})
	fmt.Println("denied:", errors.Is(err, esclient.ErrAccessDenied))
	_, err = client.Append(ctx, "$secrets", esclient.Any, esclient.EventData{Type: "note"})
	fmt.Println("the administrator may:", err == nil)
	// Output:
	// denied: true
	// the administrator may: true
}

// Nothing was sent, so that the append can be tried again as it is.
func ExampleSafeToRetry() {
	client, err := esclient.Open("tcp://127.0.0.1:1") // without a listener
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()

	_, err = client.Append(ctx, "order-1", esclient.Any, esclient.EventData{Type: "placed"})
	fmt.Println("time ran out:", esclient.Timeout(err))
	fmt.Println("safe to retry:", esclient.SafeToRetry(err))
	fmt.Println("may be written:", errors.Is(err, esclient.ErrOutcomeUnknown))
	// Output:
	// time ran out: true
	// safe to retry: true
	// may be written: false
}

// The server is there.
func ExampleClient_Ping() {
	client, closeAll := exampleClient()
	defer closeAll()

	took, err := client.Ping(context.Background())
	fmt.Println(took > 0, err)
	// Output: true <nil>
}
