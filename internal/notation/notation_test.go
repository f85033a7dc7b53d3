package notation

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "$ce-a", "a b/c?d", "ü", "日本", strings.Repeat("x", 5000)} {
		assert.Empty(t, Problem(name), name)
	}
	for name, problem := range map[string]string{
		"": "empty", "a\nb": "control character", "a\x7f": "control character", "ü\u0085": "control character",
		"a\xff": "UTF-8",
	} {
		assert.Contains(t, Problem(name), problem, "%q", name)
	}
	assert.Equal(t, "$persistentsubscription-orders::invoices-parked", ParkedStream("orders", "invoices"))
}

func TestTimes(t *testing.T) {
	at := time.Date(2024, 5, 6, 7, 8, 9, 123456700, time.UTC)
	for text, want := range map[string]time.Time{
		"2024-05-06T07:08:09.1234567Z":      at,
		"2024-05-06T09:08:09.1234567+02:00": at,
		"2024-05-06T07:08:09.1234567":       at,
		"2024-05-06T07:08:09":               at.Truncate(time.Second),
		"":                                  {},
		"yesterday":                         {},
	} {
		assert.True(t, want.Equal(ParseTime(text)), text)
	}
}
