package docs

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// user is a client of the user of the page.
type user struct {
	t      *testing.T
	client *esclient.Client
	admin  *esadmin.Client
}

// needs has the actions of the user for each row of the page. Each returns the first error.
var needs = map[string]func(ctx context.Context, u *user) error{
	"publish to a stream":                       func(_ context.Context, u *user) error { return u.publish("orders") },
	"publish to new streams, such as `order-1`": func(_ context.Context, u *user) error { return u.publish("order-1") },
	"fan-out or catch-up of a stream": func(ctx context.Context, u *user) error {
		fanOut := u.subscribe(ctx, "orders", eventstore.SubscriberConfig{})
		catchUp := u.subscribe(ctx, "orders", eventstore.SubscriberConfig{Mode: eventstore.ModeCatchUp})
		assert.Equal(u.t, fanOut == nil, catchUp == nil)
		return catchUp
	},
	"consume from a group that exists": func(ctx context.Context, u *user) error {
		return u.subscribe(ctx, "orders", eventstore.SubscriberConfig{ConsumerGroup: "mail"})
	},
	"create, change and delete groups": func(ctx context.Context, u *user) error {
		settings := esclient.DefaultPersistentSettings()
		if err := u.client.CreatePersistent(ctx, "orders", "new", settings); err != nil {
			return err
		}
		if err := u.client.UpdatePersistent(ctx, "orders", "new", settings); err != nil {
			return err
		}
		return u.client.DeletePersistent(ctx, "orders", "new")
	},
	"tell a group that was created again from the earlier one": func(ctx context.Context, u *user) error {
		_, err := u.client.ReadEvent(ctx, "$persistentSubscriptionConfig", esclient.LastEvent,
			esclient.ReadEventOptions{})
		return err
	},
	"read `$all`, with or without a filter": func(ctx context.Context, u *user) error {
		config := eventstore.SubscriberConfig{Mode: eventstore.ModeCatchUp}
		all := u.subscribe(ctx, "$all", config)
		config.Filter = &esclient.Filter{StreamPrefixes: []string{"order"}}
		some := u.subscribe(ctx, "$all", config)
		assert.Equal(u.t, all == nil, some == nil)
		return some
	},
	"keep `StreamCheckpoints`": func(ctx context.Context, u *user) error {
		store, err := eventstore.NewStreamCheckpoints(u.client, "")
		require.NoError(u.t, err)
		if _, err := store.Load(ctx, "invoices/orders"); err != nil {
			return err
		}
		return store.Save(ctx, "invoices/orders", esclient.CheckpointAtNumber(1))
	},
	"read parked events of a group": func(ctx context.Context, u *user) error {
		for _, err := range u.client.ReadParked(ctx, "orders", "mail") {
			return err
		}
		return nil
	},
	"replay parked events of a group": func(ctx context.Context, u *user) error {
		return u.admin.ReplayParked(ctx, "orders", "mail", 0)
	},
	"read what `esprom` reports of groups; compare settings of a group": func(ctx context.Context, u *user) error {
		if _, err := u.admin.Groups(ctx, ""); err != nil {
			return err
		}
		_, err := u.client.GroupSettings(ctx, "orders", "mail")
		return err
	},
	"delete a stream": func(ctx context.Context, u *user) error {
		_, err := u.client.DeleteStream(ctx, "orders", esclient.Any)
		return err
	},
	"read a stream's metadata": func(ctx context.Context, u *user) error {
		_, _, err := u.client.RawStreamMetadata(ctx, "orders")
		return err
	},
	"change a stream's metadata": func(ctx context.Context, u *user) error {
		_, err := u.client.SetStreamMetadata(ctx, "orders", esclient.Any, esclient.StreamMetadata{MaxCount: 9})
		return err
	},
	"manage users": func(ctx context.Context, u *user) error {
		return u.admin.CreateUser(ctx, esadmin.User{Login: "anna", FullName: "Anna"}, "secret")
	},
}

func (u *user) publish(topic string) error {
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: u.client}, nil)
	require.NoError(u.t, err)
	defer publisher.Close()
	return publisher.Publish(topic, message.NewMessage("1", []byte("{}")))
}

// subscribe expects the first message, if the server allows the subscription; there is one but in fan-out.
func (u *user) subscribe(ctx context.Context, topic string, config eventstore.SubscriberConfig) error {
	config.Client, config.DisableGroupCreation = u.client, config.ConsumerGroup != ""
	subscriber, err := eventstore.NewSubscriber(config, nil)
	require.NoError(u.t, err)
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(ctx, topic)
	if err != nil || config.Mode == eventstore.ModeDefault && config.ConsumerGroup == "" {
		return err
	}
	msg, open := <-messages
	if assert.True(u.t, open) {
		msg.Ack()
	}
	return nil
}

// asUser makes a client of the user shop, who gets new rights by groups with a new connection.
func asUser(t *testing.T, server *estest.Server) *user {
	t.Helper()
	cfg, err := esclient.ParseConnectionString(
		"tcp://shop:secret@" + server.Addr() + "?httpEndpoint=" + server.HTTPAddr())
	require.NoError(t, err)
	client, err := esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	admin, err := esadmin.New(client)
	require.NoError(t, err)
	return &user{t, client, admin}
}

// row is one of the table of the page.
type row struct{ what, grant string }

// tableOfRights reads the page: the table, and the command before it that closes the defaults.
func tableOfRights(t *testing.T) (rows []row, closing string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(top, "docs/security.md"))
	require.NoError(t, err)
	for _, b := range blocks("docs/security.md", string(page)) {
		if strings.Contains(b.text, "$userStreamAcl") {
			closing = b.text
		}
	}
	require.NotEmpty(t, closing)
	_, table, ok := strings.Cut(string(page), "\n| What you do | Right | How to give it |\n|---|---|---|\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		require.Len(t, cells, 5, line)
		grant := strings.Trim(strings.TrimSpace(cells[3]), "`")
		rows = append(rows, row{strings.TrimSpace(cells[1]), strings.ReplaceAll(grant, "\x00", "|")})
	}
	return rows, closing
}

// closedServer has an event, a group with a parked event, the user shop, and closed defaults.
func closedServer(t *testing.T, s *shell, persona estest.Persona, closing string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.server = estest.Run(t, estest.WithPersona(persona), estest.WithUser("shop", "secret"))
	client, err := esclient.Open(s.server.ConnectionString())
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Append(ctx, "orders", esclient.Any, esclient.EventData{Type: "a"}, esclient.EventData{Type: "b"})
	require.NoError(t, err)
	settings := esclient.DefaultPersistentSettings()
	settings.StartFrom = 0
	require.NoError(t, client.CreatePersistent(ctx, "orders", "mail", settings))
	group, err := client.ConnectPersistent(ctx, "orders", "mail", esclient.PersistentOptions{})
	require.NoError(t, err)
	event, err := group.Next(ctx)
	require.NoError(t, err)
	require.NoError(t, group.Nack(esclient.NackPark, "", event))
	require.NoError(t, group.Stop(ctx))
	s.block(block{page: "docs/security.md", text: closing})
}

func TestRightsOfThePage(t *testing.T) {
	t.Parallel()
	rows, closing := tableOfRights(t)
	programs := newShell(t)
	tested := make(map[string]bool)
	for _, r := range rows {
		tested[r.what] = true
	}
	for what := range needs {
		assert.True(t, tested[what], "the page has no row: %s", what)
	}
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona2310} {
		for _, r := range rows {
			t.Run(string(persona)+" "+regexp.MustCompile(`[^a-z]+`).ReplaceAllString(r.what, " "), func(t *testing.T) {
				t.Parallel()
				do := needs[r.what]
				require.NotNil(t, do, r.what)
				s := *programs
				s.t, s.faults = t, t
				closedServer(t, &s, persona, closing)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if r.grant != "" {
					require.ErrorIs(t, do(ctx, asUser(t, s.server)), esclient.ErrAccessDenied)
					s.block(block{page: "docs/security.md", text: r.grant})
				}
				require.NoError(t, do(ctx, asUser(t, s.server)))
			})
		}
	}
}

// From 20.6 on, servers do not look at the rights to the target of a link.
func TestLinksShowTargetsOfOthers(t *testing.T) {
	t.Parallel()
	server := estest.Run(t, estest.WithPersona(estest.Persona2310), estest.WithUser("shop", "secret"),
		estest.WithProjections())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := esclient.Open(server.ConnectionString())
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Append(ctx, "order-1", esclient.Any, esclient.EventData{Type: "a"})
	require.NoError(t, err)
	_, err = client.SetStreamMetadata(ctx, "order-1", esclient.Any,
		esclient.StreamMetadata{ACL: esclient.StreamACL{Read: []string{esclient.RoleAdmins}}})
	require.NoError(t, err)
	require.NoError(t, server.WaitForProjections(ctx))

	shop := asUser(t, server)
	_, err = shop.client.ReadEvent(ctx, "order-1", 0, esclient.ReadEventOptions{})
	require.ErrorIs(t, err, esclient.ErrAccessDenied)
	event, err := shop.client.ReadEvent(ctx, "$ce-order", 0, esclient.ReadEventOptions{ResolveLinks: true})
	require.NoError(t, err)
	assert.Equal(t, "order-1", event.Stream)

	_, err = client.SetStreamMetadata(ctx, "$ce-order", esclient.Any,
		esclient.StreamMetadata{ACL: esclient.StreamACL{Read: []string{esclient.RoleAdmins}}})
	require.NoError(t, err)
	_, err = shop.client.ReadEvent(ctx, "$ce-order", 0, esclient.ReadEventOptions{ResolveLinks: true})
	require.ErrorIs(t, err, esclient.ErrAccessDenied)
}
