package mails

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestThePageAboutTestingHasThisTest(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("mails_test.go")
	require.NoError(t, err)
	page, err := os.ReadFile("../testing-handlers.md")
	require.NoError(t, err)
	assert.Contains(t, string(page), "```go\n"+string(source)+"```\n", "copy mails_test.go into the page")
}
