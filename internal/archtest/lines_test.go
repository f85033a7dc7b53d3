package archtest

import (
	"go/ast"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
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
		for _, n := range longLines(read(t, file.name)) {
			long = append(long, file.name+":"+strconv.Itoa(n))
		}
	}
	assert.Empty(t, long, "lines have at most %d columns", lineLength)
}

// target is the target of a link in Markdown: it cannot be wrapped.
var target = regexp.MustCompile(`\]\([^)]*\)|^\[[^]]*\]:.*|<?https?://[^\s)]+`)

// wrappable removes the parts of a Markdown text that may be longer than a line: rows of tables, and targets of links.
func wrappable(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "|") {
			line = "\n"
		}
		b.WriteString(target.ReplaceAllString(line, ""))
	}
	return b.String()
}

func TestLinesOfMarkdownAreShort(t *testing.T) {
	t.Parallel()
	var long []string
	for _, name := range files(t, ".md") {
		for _, n := range longLines(wrappable(read(t, name))) {
			long = append(long, name+":"+strconv.Itoa(n))
		}
	}
	assert.Empty(t, long, "lines have at most %d columns, but for tables and targets of links", lineLength)
}

func TestLongLinesAreFound(t *testing.T) {
	t.Parallel()
	wide := strings.Repeat("…", lineLength)
	assert.Empty(t, longLines(wide+"\n"+wide))
	assert.Empty(t, longLines("\t"+wide[:len(wide)-4*len("…")]+"\r\n"))
	assert.Equal(t, []int{2, 4}, longLines("short\n"+wide+".\n\n\t"+wide))
}

func TestLongLinesOfMarkdownAreFound(t *testing.T) {
	t.Parallel()
	wide, url := strings.Repeat("…", lineLength), "https://example.com/"+strings.Repeat("a", lineLength)
	assert.Empty(t, longLines(wrappable("| "+wide+" |\n  | "+wide+"|\n[text]("+url+") "+wide[:99]+"\n"+url)))
	assert.Empty(t, longLines(wrappable("[name]: "+url+" \"title\"\n![picture]("+url+")\n<"+url+">")))
	assert.Equal(t, []int{2, 4, 5}, longLines(wrappable(
		"| a |\n"+wide+"|\n"+url+"\n[text]("+url+") "+wide+"\n["+wide+"]("+url+")\n")))
}
