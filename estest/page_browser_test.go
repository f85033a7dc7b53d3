//go:build browser

package estest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// browser is a page in a headless Chromium, which is spoken to by pipes in the DevTools protocol.
type browser struct {
	t       testing.TB
	in      *os.File
	out     *bufio.Reader
	session string
	calls   int
}

// browse opens a page. It fails the test if there is no Chromium on the PATH.
func browse(t testing.TB, url string) *browser {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	require.NotEmpty(t, program, "tests with the tag browser need Chromium on the PATH")
	theirIn, in, err := os.Pipe()
	require.NoError(t, err)
	out, theirOut, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as it expects them
	require.NoError(t, cmd.Start())
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		if err := b.call("Browser.close", nil, nil); err != nil {
			t.Error(err)
		}
		in.Close()
		_ = cmd.Wait() // whatever its status, it has ended
		out.Close()
	})
	require.NoError(t, out.SetReadDeadline(time.Now().Add(2*time.Minute)))

	var target struct{ TargetID string }
	require.NoError(t, b.call("Target.createTarget", map[string]any{"url": url}, &target))
	var attached struct{ SessionID string }
	flat := map[string]any{"targetId": target.TargetID, "flatten": true}
	require.NoError(t, b.call("Target.attachToTarget", flat, &attached))
	b.session = attached.SessionID
	return b
}

// call makes a call and waits for its result; what else the browser tells is of no interest.
func (b *browser) call(method string, params map[string]any, result any) error {
	b.calls++
	m := map[string]any{"id": b.calls, "method": method, "params": params}
	if params == nil {
		m["params"] = map[string]any{}
	}
	if b.session != "" && method != "Browser.close" {
		m["sessionId"] = b.session
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		return err
	}
	for {
		text, err := b.out.ReadBytes(0)
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		var reply struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &reply); err != nil {
			return err
		}
		switch {
		case reply.ID != b.calls:
		case reply.Error != nil:
			return errors.New(method + ": " + reply.Error.Message)
		case result != nil:
			return json.Unmarshal(reply.Result, result)
		default:
			return nil
		}
	}
}

// run evaluates an expression in the page and returns it as text.
func (b *browser) run(expression string) string {
	b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	require.NoError(b.t, b.call("Runtime.evaluate", map[string]any{"expression": "String(" + expression + ")"}, &r))
	if r.ExceptionDetails != nil { // the page may be loading still
		return "exception: " + r.ExceptionDetails.Text
	}
	return fmt.Sprint(r.Result.Value)
}

// shows waits until an expression has a value.
func (b *browser) shows(want, expression string) {
	b.t.Helper()
	var got string
	if !assert.Eventually(b.t, func() bool { got = b.run(expression); return got == want },
		patience, 20*time.Millisecond) {
		b.t.Fatalf("%s is %q, not %q", expression, got, want)
	}
}

// column is the text of the cells of one column.
func column(table string, n int) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#%s tr td:nth-child(%d)")].map(td => td.textContent).join("|")`,
		table, n)
}

func TestThePageInABrowser(t *testing.T) {
	s, _ := runByClock(t) // without heartbeats, which nobody would answer while the browser starts
	p := connect(t, s)
	p.mustAppend(nil, "orders", newEvent("Placed", "first"))
	p.createGroup("orders", "g")
	b := browse(t, s.HTTPURL()+"/")
	b.shows("5.0.11.0", `document.getElementById("version").textContent`)
	b.shows("orders", column("streams", 1))
	b.shows("g", column("groups", 2))
	b.shows("0", column("groups", 8))

	// What happens next is seen without doing anything.
	sub := p.join("orders", "g")
	first := p.delivered(sub)
	p.nak(sub, "orders", "g", esproto.PersistentSubscriptionNakEvents_Park, first.GetEvent().GetEvent().GetEventId())
	b.shows("1", column("groups", 8))
	p.mustAppend(nil, "invoices", newEvent("Sent", "second"))
	b.shows("invoices|orders", column("streams", 1))

	// One stream, by a click; the server's own, by another.
	b.run(`[...document.querySelectorAll("#streams a")].find(a => a.textContent === "orders").click()`)
	b.shows("orders", `document.getElementById("selected").textContent`)
	b.shows("first", column("events", 6))
	b.run(`document.getElementById("system").click()`)
	b.shows("true", column("streams", 1)+`.includes("$users")`)

	connect(t, s).delete("orders", true) // p gets events meanwhile
	b.run(`document.getElementById("all").click()`)
	b.shows("true", column("events", 3)+`.startsWith("9223372036854775807|")`)

	require.NoError(t, s.Restart())
	b.shows("true", `document.getElementById("status").textContent.includes("0 connections")`)
}

// Nothing that a client writes is anything but text.
func TestThePageRunsNoScriptOfOthers(t *testing.T) {
	s := estest.Run(t)
	evil := `<img src=x onerror="document.title='pwned'"><script>document.title='pwned'</script>`
	_, err := s.Append(evil, estest.Event{Type: evil, Data: []byte(evil), Metadata: []byte(evil)})
	require.NoError(t, err)
	p := connect(t, s)
	p.createGroup(evil, evil)
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

// A long stream is turned page by page, and the newest page follows what is written.
func TestThePageTurnsInABrowser(t *testing.T) {
	s := estest.Run(t)
	for n := range 60 {
		_, err := s.Append("s", estest.Event{Type: "T", Data: fmt.Append(nil, n)})
		require.NoError(t, err)
	}
	b := browse(t, s.HTTPURL()+"/#s")
	first := `document.querySelector("#events td:nth-child(6)").textContent`
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
