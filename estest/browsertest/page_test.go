package browsertest

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func connect(t testing.TB, s *estest.Server) *esclient.Client {
	t.Helper()
	cfg, err := esclient.ParseConnectionString(s.ConnectionString())
	require.NoError(t, err)
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func createGroup(t testing.TB, c *esclient.Client, stream, group string) {
	t.Helper()
	settings := esclient.DefaultPersistentSettings()
	settings.StartFrom = 0
	require.NoError(t, c.CreatePersistent(t.Context(), stream, group, settings))
}

func TestThePageInABrowser(t *testing.T) {
	s := estest.Run(t)
	b := browse(t, s.HTTPURL()+"/")
	c := connect(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := c.Append(ctx, "orders", esclient.Any, esclient.EventData{Type: "Placed", Data: []byte("first")})
	require.NoError(t, err)
	createGroup(t, c, "orders", "g")
	b.shows("5.0.11.0", `document.getElementById("version").textContent`)
	b.shows("orders", column("streams", 1))
	b.shows("g", column("groups", 2))
	b.shows("0", column("groups", 8))

	// The page shows new events without any action of the user.
	sub, err := c.ConnectPersistent(ctx, "orders", "g", esclient.PersistentOptions{})
	require.NoError(t, err)
	first, err := sub.Next(ctx)
	require.NoError(t, err)
	require.NoError(t, sub.Nack(esclient.NackPark, "test", first))
	b.shows("1", column("groups", 8))
	_, err = c.Append(ctx, "invoices", esclient.Any, esclient.EventData{Type: "Sent", Data: []byte("second")})
	require.NoError(t, err)
	b.shows("invoices|orders", column("streams", 1))

	// One stream, by a click; the server's own, by another.
	b.run(`[...document.querySelectorAll("#streams a")].find(a => a.textContent === "orders").click()`)
	b.shows("orders", `document.getElementById("selected").textContent`)
	b.shows("first", column("events", 6))
	b.run(`document.getElementById("system").click()`)
	b.shows("true", column("streams", 1)+`.includes("$users")`)

	_, err = c.TombstoneStream(ctx, "orders", esclient.Any)
	require.NoError(t, err)
	b.run(`document.getElementById("all").click()`)
	b.shows("true", column("events", 3)+`.startsWith("9223372036854775807|")`)

	// A server that comes back is found again.
	status := `document.getElementById("status").textContent`
	b.shows("true", status+`.includes("1 connections")`)
	require.NoError(t, c.Close())
	require.NoError(t, s.Restart())
	b.shows("true", status+`.includes("0 connections")`)
	_, err = s.Append("receipts", estest.Event{Type: "T"})
	require.NoError(t, err)
	b.shows("true", column("streams", 1)+`.startsWith("receipts|")`)
}

// Nothing that a client writes is anything but text.
func TestThePageRunsNoScriptOfOthers(t *testing.T) {
	s := estest.Run(t)
	evil := `<img src=x onerror="document.title='pwned'"><script>document.title='pwned'</script>`
	_, err := s.Append(evil, estest.Event{Type: evil, Data: []byte(evil), Metadata: []byte(evil)})
	require.NoError(t, err)
	createGroup(t, connect(t, s), evil, evil)
	b := browse(t, s.HTTPURL()+"/")
	b.shows(evil, column("streams", 1))
	b.shows(evil, column("groups", 2))
	b.run(`document.querySelector("#streams a").click()`)
	b.shows(evil, `document.getElementById("selected").textContent`)
	b.shows(evil, column("events", 6))
	b.shows(evil, column("events", 7))
	assert.Equal(t, "estest", b.run("document.title"))
	assert.Equal(t, "0", b.run(`document.querySelectorAll("img, td script, a[href^='javascript']").length`))
}

// The page of a long stream has links to older and newer events, and the newest page shows new events.
func TestThePageTurnsInABrowser(t *testing.T) {
	s := estest.Run(t)
	for n := range 60 {
		_, err := s.Append("s", estest.Event{Type: "T", Data: fmt.Append(nil, n)})
		require.NoError(t, err)
	}
	b := browse(t, s.HTTPURL()+"/#s")
	first := `document.querySelector("#events td:nth-child(6)")?.textContent`
	b.shows("59", first)
	b.shows("true", `document.getElementById("newest").disabled`)
	b.run(`document.getElementById("older").click()`)
	b.shows("9", first)
	b.shows("true", `document.getElementById("older").disabled`)
	_, err := s.Append("s", estest.Event{Type: "T", Data: []byte("60")})
	require.NoError(t, err)
	b.run(`document.getElementById("newest").click()`)
	b.shows("60", first)
	require.NoError(t, s.Close())
	b.shows("lost", `document.getElementById("status").className`)
}
