package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits each wait for a change of the page.
const patience = 20 * time.Second

// browser is a page in a headless Chromium.
type browser struct {
	t   testing.TB
	ctx context.Context
}

// browse opens a page. It skips the test if there is no Chromium.
func browse(t testing.TB, url string) *browser {
	t.Helper()
	limit, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, end := chromedp.NewContext(limit, chromedp.WithAllocatorOptions(
		chromedp.NoSandbox, // which works neither for root nor in most containers
		chromedp.DisableGPU,
	))
	t.Cleanup(end)
	err := chromedp.Do(ctx, chromedp.Navigate(url))
	if errors.Is(err, exec.ErrNotFound) {
		t.Skipf("needs Chromium, which is not on the PATH: %v", err)
	}
	require.NoError(t, err)
	return &browser{t: t, ctx: ctx}
}

// run evaluates an expression in the page and returns it as text.
func (b *browser) run(expression string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	require.NoError(b.t, err, expression)
	return text
}

// shows waits until an expression has a value.
func (b *browser) shows(want, expression string) {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool](fmt.Sprintf("String(%s) === %q", expression, want),
		chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(patience)))
	if err != nil {
		b.t.Fatalf("%s is %q, not %q: %v", expression, b.run(expression), want, err)
	}
}

// column is the text of the cells of one column.
func column(table string, n int) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#%s tr td:nth-child(%d)")].map(td => td.textContent).join("|")`,
		table, n)
}
