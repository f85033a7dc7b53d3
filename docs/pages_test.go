package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const top = ".." // of the repository

// block is a fenced block of a page.
type block struct {
	page string // relative to top, with slashes
	line int    // of its first line, from 1
	lang string // the first word behind the fence
	run  bool   // whether "run" follows
	text string
}

var fence = regexp.MustCompile("^(`{3,}|~{3,})\\s*(.*)$")

// blocks returns the fenced blocks of a page. A block ends at a fence like the one that began it.
func blocks(page, text string) (found []block) {
	open, body, n := "", block{}, 0
	for line := range strings.Lines(text) {
		n++
		mark := fence.FindStringSubmatch(strings.TrimSpace(line))
		switch {
		case open == "" && mark != nil:
			info := strings.Fields(mark[2])
			open, body = mark[1], block{page: page, line: n + 1, run: slices.Contains(info, "run")}
			if len(info) > 0 {
				body.lang = info[0]
			}
		case open != "" && mark != nil && mark[2] == "" && strings.HasPrefix(mark[1], open):
			found = append(found, body)
			open = ""
		case open != "":
			body.text += line
		}
	}
	if open != "" {
		found = append(found, body)
	}
	return found
}

// outsideBlocks has empty lines in place of fenced blocks.
func outsideBlocks(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for _, b := range blocks("", text) {
		for i := range strings.Count(b.text, "\n") {
			lines[b.line-1+i] = "\n"
		}
	}
	return strings.Join(lines, "")
}

// markdown returns all Markdown files of the repository by their names.
func markdown(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	err := filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if name != top && (strings.HasPrefix(base, ".") || base == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(base) != ".md" {
			return nil
		}
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(name)
		texts[filepath.ToSlash(rel)] = string(text)
		return err
	})
	require.NoError(t, err)
	require.Contains(t, texts, "README.md")
	return texts
}

// isPage says which documents have code that is tested here.
func isPage(name string) bool {
	return name == "README.md" || name == "CONTRIBUTING.md" || strings.HasPrefix(name, "docs/")
}

// pages returns the pages, sorted, with their blocks.
func pages(t *testing.T) (names []string, all map[string][]block) {
	t.Helper()
	all = make(map[string][]block)
	for name, text := range markdown(t) {
		if isPage(name) {
			names = append(names, name)
			all[name] = blocks(name, text)
		}
	}
	slices.Sort(names)
	return names, all
}

// languages are those that a block may have. No test can check others.
var languages = []string{"go", "sh", "json", "yaml", "toml", "sql", "text", "console", "diff", ""}

func TestBlocksHaveAKnownLanguage(t *testing.T) {
	t.Parallel()
	names, all := pages(t)
	for _, name := range names {
		for _, b := range all[name] {
			assert.Contains(t, languages, b.lang, "%s:%d", b.page, b.line)
			if b.lang == "" { // a drawing, or an example of a text
				assert.NotRegexp(t, `(?m)^\s*(func|package|import|go|esctl|make) |:=`, b.text,
					"%s:%d looks like code: name its language", b.page, b.line)
			}
			if b.lang == "console" {
				assert.Equal(t, "docs/esctl.md", b.page, "cmd/esctl tests that page only: use sh")
			}
		}
	}
}

// The table of README has every example.
func TestREADMEListsTheExamples(t *testing.T) {
	t.Parallel()
	modules, err := filepath.Glob(filepath.Join(top, "_examples", "*", "go.mod"))
	require.NoError(t, err)
	require.NotEmpty(t, modules)
	readme := markdown(t)["README.md"]
	for _, module := range modules {
		example := filepath.Base(filepath.Dir(module))
		assert.Contains(t, readme, "\n| `"+example+"` | ", "README.md has no row of this example")
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	const text = "a\n```go run\nx\n\n```\n```\n~~~\n```\n  ~~~~sh\n```\n~~~\n~~~~\n```\nend"
	assert.Equal(t, []block{
		{page: "p", line: 3, lang: "go", run: true, text: "x\n\n"},
		{page: "p", line: 7, text: "~~~\n"},
		{page: "p", line: 10, lang: "sh", text: "```\n~~~\n"},
		{page: "p", line: 14, text: "end"},
	}, blocks("p", text))
	assert.Equal(t, "a\n```go run\n\n\n```\n```\n\n```\n  ~~~~sh\n\n\n~~~~\n```\nend", outsideBlocks(text))
}
