package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// exampleParked is a client of an EventStore with a group that has parked two events.
func exampleParked() (c *esclient.Client, consumer *esclient.PersistentSubscription, closeAll func()) {
	c, closeAll = exampleClient()
	ctx := context.Background()
	makeGroup(c, "orders", "invoices")
	write(c, "orders", "placed", "paid")
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
	if _, err := c.Ping(ctx); err != nil { // its reply tells that the nacks have arrived
		log.Fatal(err)
	}
	return c, consumer, closeAll
}

// management returns a client's management.
func management(c *esclient.Client) *esclient.Management {
	m, err := c.Management()
	if err != nil {
		log.Fatal(err)
	}
	return m
}

// The groups of a stream are listed.
func ExampleManagement_Groups() {
	client, closeAll := exampleClient()
	defer closeAll()
	makeGroup(client, "orders", "invoices")
	makeGroup(client, "orders", "mails")

	groups, err := management(client).Groups(context.Background(), "orders")
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

// A group is described with its settings, its counters and its subscribers.
func ExampleManagement_Group() {
	client, _, closeAll := exampleParked()
	defer closeAll()

	g, err := management(client).Group(context.Background(), "orders", "invoices")
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

// What a group has given up can be looked at.
func ExampleClient_ReadParked() {
	client, _, closeAll := exampleParked()
	defer closeAll()

	for parked, err := range client.ReadParked(context.Background(), "orders", "invoices") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s: %q\n", parked.Number, parked.Event.Type, parked.Reason)
	}
	// Output:
	// 0 placed: "Client explicitly NAK'ed message.\nno customer"
	// 1 paid: "Client explicitly NAK'ed message.\nno customer"
}

// What a group has given up is delivered once more.
func ExampleManagement_ReplayParked() {
	client, consumer, closeAll := exampleParked()
	defer closeAll()
	ctx := context.Background()

	if err := management(client).ReplayParked(ctx, "orders", "invoices", 0); err != nil {
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

// A user is made, and changes its password.
func ExampleManagement_CreateUser() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx, users := context.Background(), management(client)

	jane := esclient.User{Login: "jane", FullName: "Jane Doe", Groups: []string{"readers"}}
	if err := users.CreateUser(ctx, jane, "first"); err != nil {
		log.Fatal(err)
	}
	err := users.CreateUser(ctx, jane, "another")
	fmt.Println(errors.Is(err, esclient.ErrUserExists))
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

// Users are listed.
func ExampleManagement_Users() {
	client, closeAll := exampleClient()
	defer closeAll()

	users, err := management(client).Users(context.Background())
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

// A user is changed.
func ExampleManagement_UpdateUser() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx, users := context.Background(), management(client)

	if err := users.CreateUser(ctx, esclient.User{Login: "jane"}, "secret"); err != nil {
		log.Fatal(err)
	}
	change := esclient.User{Login: "jane", FullName: "Jane Doe", Groups: []string{"$ops"}}
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

// A user is kept out, let in again with another password, and deleted.
func ExampleManagement_DisableUser() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx, users := context.Background(), management(client)

	logIn := func(password string) {
		_, err := client.Ping(esclient.WithCredentials(ctx, esclient.Credentials{Login: "jane", Password: password}))
		fmt.Println("refused:", errors.Is(err, esclient.ErrNotAuthenticated))
	}
	for _, step := range []func() error{
		func() error { return users.CreateUser(ctx, esclient.User{Login: "jane"}, "secret") },
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
