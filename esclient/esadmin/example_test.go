package esadmin_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// exampleClient is a client of an EventStore.
func exampleClient() (c *esclient.Client, closeAll func()) {
	srv, err := estest.Start() // a real one: tcp://admin:changeit@localhost:1113
	if err != nil {
		log.Fatal(err)
	}
	cfg, err := esclient.ParseConnectionString(srv.ConnectionString())
	if err != nil {
		log.Fatal(err)
	}
	cfg.HTTPEndpoint = srv.HTTPURL() // not the usual port
	c, err = esclient.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	return c, func() {
		c.Close()
		srv.Close()
	}
}

// administrator administers the server of a client.
func administrator(c *esclient.Client) *esadmin.Client {
	admin, err := esadmin.New(c)
	if err != nil {
		log.Fatal(err)
	}
	return admin
}

// makeGroup creates a group that begins with the first event of a stream.
func makeGroup(c *esclient.Client, stream, group string) {
	settings := esclient.DefaultPersistentSettings()
	settings.StartFrom = 0
	if err := c.CreatePersistent(context.Background(), stream, group, settings); err != nil {
		log.Fatal(err)
	}
}

// exampleParked is a client of an EventStore with a group that has parked two events.
func exampleParked() (c *esclient.Client, consumer *esclient.PersistentSubscription, closeAll func()) {
	c, closeAll = exampleClient()
	ctx := context.Background()
	makeGroup(c, "orders", "invoices")
	placed, paid := esclient.EventData{Type: "placed"}, esclient.EventData{Type: "paid"}
	if _, err := c.Append(ctx, "orders", esclient.Any, placed, paid); err != nil {
		log.Fatal(err)
	}
	consumer, err := c.ConnectPersistent(ctx, "orders", "invoices", esclient.PersistentOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		event, err := consumer.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if err := consumer.Nack(esclient.NackPark, "no customer", event); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := c.Ping(ctx); err != nil { // the reply shows that the server has read the nacks
		log.Fatal(err)
	}
	return c, consumer, closeAll
}

// List the groups of a stream.
func ExampleClient_Groups() {
	client, closeAll := exampleClient()
	defer closeAll()
	makeGroup(client, "orders", "invoices")
	makeGroup(client, "orders", "mails")

	groups, err := administrator(client).Groups(context.Background(), "orders")
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range groups {
		fmt.Println(g.Stream, g.Group, "subscribers:", g.Subscribers)
	}
	// Output:
	// orders invoices subscribers: 0
	// orders mails subscribers: 0
}

// Describe a group with its settings, counters and subscribers.
func ExampleClient_Group() {
	client, _, closeAll := exampleParked()
	defer closeAll()

	g, err := administrator(client).Group(context.Background(), "orders", "invoices")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("message timeout:", g.Settings.MessageTimeout)
	fmt.Println("last known event:", g.LastKnownEvent, "delivered:", g.TotalItemsProcessed)
	for _, c := range g.Connections {
		fmt.Println(c.Username, "in flight:", c.InFlight, "free:", c.AvailableSlots)
	}
	// Output:
	// message timeout: 30s
	// last known event: 1 delivered: 2
	// admin in flight: 0 free: 10
}

// Replay the events that a group has parked.
func ExampleClient_ReplayParked() {
	client, consumer, closeAll := exampleParked()
	defer closeAll()
	ctx := context.Background()

	if err := administrator(client).ReplayParked(ctx, "orders", "invoices", 0); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		event, err := consumer.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Stream, event.Number, event.Type)
		if err := consumer.Ack(event); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// orders 0 placed
	// orders 1 paid
}

// Create a user, who then changes the password.
func ExampleClient_CreateUser() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx, users := context.Background(), administrator(client)

	jane := esadmin.User{Login: "jane", FullName: "Jane Doe", Groups: []string{"readers"}}
	if err := users.CreateUser(ctx, jane, "first"); err != nil {
		log.Fatal(err)
	}
	err := users.CreateUser(ctx, jane, "another")
	fmt.Println(errors.Is(err, esadmin.ErrUserExists))
	if err := users.ChangePassword(ctx, "jane", "first", "second"); err != nil {
		log.Fatal(err)
	}
	as := esclient.WithCredentials(ctx, esclient.Credentials{Login: "jane", Password: "second"})
	_, err = client.Ping(as)
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

// List the users.
func ExampleClient_Users() {
	client, closeAll := exampleClient()
	defer closeAll()

	users, err := administrator(client).Users(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, u := range users {
		fmt.Println(u.Login, u.Groups)
	}
	// Output:
	// admin [$admins]
	// ops [$ops]
}

// Change a user.
func ExampleClient_UpdateUser() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx, users := context.Background(), administrator(client)

	if err := users.CreateUser(ctx, esadmin.User{Login: "jane"}, "secret"); err != nil {
		log.Fatal(err)
	}
	change := esadmin.User{Login: "jane", FullName: "Jane Doe", Groups: []string{"$ops"}}
	if err := users.UpdateUser(ctx, change); err != nil {
		log.Fatal(err)
	}
	jane, err := users.User(ctx, "jane")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(jane.FullName, jane.Groups)
	// Output: Jane Doe [$ops]
}

// Disable a user, enable it with a new password, and delete it.
func ExampleClient_DisableUser() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx, users := context.Background(), administrator(client)

	logIn := func(password string) {
		_, err := client.Ping(esclient.WithCredentials(ctx, esclient.Credentials{Login: "jane", Password: password}))
		fmt.Println("refused:", errors.Is(err, esclient.ErrNotAuthenticated))
	}
	for _, step := range []func() error{
		func() error { return users.CreateUser(ctx, esadmin.User{Login: "jane"}, "secret") },
		func() error { return users.DisableUser(ctx, "jane") },
	} {
		if err := step(); err != nil {
			log.Fatal(err)
		}
	}
	logIn("secret")
	for _, step := range []func() error{
		func() error { return users.ResetPassword(ctx, "jane", "another") },
		func() error { return users.EnableUser(ctx, "jane") },
	} {
		if err := step(); err != nil {
			log.Fatal(err)
		}
	}
	logIn("another")
	if err := users.DeleteUser(ctx, "jane"); err != nil {
		log.Fatal(err)
	}
	logIn("another")
	// Output:
	// refused: true
	// refused: false
	// refused: true
}
