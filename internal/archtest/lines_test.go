package archtest

import (
	"go/ast"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// As .golangci.yml has it for lll.
const (
	lineLength = 120
	tab        = "    "
)

// longLines lists the numbers of the lines that are too long, from 1.
func longLines(text string) (numbers []int) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", tab)
		if utf8.RuneCountInString(line) > lineLength {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// Generated files are as they come.
func TestLinesAreShort(t *testing.T) {
	t.Parallel()
	var long []string
	for _, file := range sources(t) {
		if ast.IsGenerated(file.ast) {
			continue
		}
		text, err := os.ReadFile(filepath.Join("../..", filepath.FromSlash(file.name)))
		require.NoError(t, err)
		for _, n := range longLines(string(text)) {
			long = append(long, file.name+":"+strconv.Itoa(n))
		}
	}
	assert.Empty(t, long, "lines have at most %d columns", lineLength)
}

func TestLongLinesAreFound(t *testing.T) {
	t.Parallel()
	wide := strings.Repeat("…", lineLength)
	assert.Empty(t, longLines(wide+"\n"+wide))
	assert.Empty(t, longLines("\t"+wide[:len(wide)-4*len("…")]+"\r\n"))
	assert.Equal(t, []int{2, 4}, longLines("short\n"+wide+".\n\n\t"+wide))
}
