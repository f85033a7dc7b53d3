package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)(?:\s+"[^"]*")?\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6}\s+(.+?)\s*#*$`)
	text    = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)
)

// anchors returns the names that GitHub gives to the headings of a page.
func anchors(page string) map[string]bool {
	names, seen := make(map[string]bool), make(map[string]int)
	for _, m := range heading.FindAllStringSubmatch(outsideBlocks(page), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, text.ReplaceAllString(m[1], "$1"))
		if n := seen[name]; n > 0 {
			names[name+"-"+strconv.Itoa(n)] = true
		}
		seen[name]++
		names[name] = true
	}
	return names
}

// blob is the address of a file of this repository.
const blob = "https://" + module + "/blob/main/"

// deadLinks returns the links of a page that lead to nothing in the repository, and the pages that others lead to.
func deadLinks(name string, all map[string]string) (dead, linked []string) {
	for _, m := range link.FindAllStringSubmatch(inline.ReplaceAllString(outsideBlocks(all[name]), ""), -1) {
		to, fragment, _ := strings.Cut(m[1], "#")
		if rest, ok := strings.CutPrefix(to, blob); ok {
			to = rest
		} else if strings.Contains(to, ":") {
			continue // of another site
		} else if to != "" {
			to = path.Join(path.Dir(name), to)
		}
		if to == "" {
			to = name
		}
		page, isPage := all[to]
		if !isPage {
			if _, err := os.Stat(filepath.Join(top, filepath.FromSlash(to))); err != nil {
				dead = append(dead, m[1])
			}
			continue
		}
		linked = append(linked, to)
		if fragment != "" && !anchors(page)[fragment] {
			dead = append(dead, m[1])
		}
	}
	return dead, linked
}

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	all := markdown(t)
	for name := range all {
		dead, _ := deadLinks(name, all)
		assert.Empty(t, dead, name)
	}
}

func TestEveryPageIsLinked(t *testing.T) {
	t.Parallel()
	all := markdown(t)
	found, next := map[string]bool{"README.md": true}, []string{"README.md"}
	for len(next) > 0 {
		_, linked := deadLinks(next[0], all)
		next = next[1:]
		for _, name := range linked {
			if !found[name] {
				found[name] = true
				next = append(next, name)
			}
		}
	}
	for name := range all {
		assert.True(t, found[name] || !isPage(name), "no page that one finds from README.md leads to %s", name)
	}
}

func TestDeadLinksAreFound(t *testing.T) {
	t.Parallel()
	all := map[string]string{
		"docs/a.md": "# A b, `c.D`!\n## [E](b.md) f\n## [E](b.md) f\n```\n# no\n[x](none)\n```\n`[x](none)`",
		"docs/b.md": "[1](a.md) [2](a.md#a-b-cd \"x\") [3](#b) [4](a.md#e-f-1) [5](https://x/y#z) " +
			"![6](../README.md)\n# b\n[7](" + blob + "docs/a.md#e-f) [8](#c) [9](a.md#no) [10](none.md) " +
			"[11](" + blob + "none)",
	}
	dead, linked := deadLinks("docs/b.md", all)
	assert.Equal(t, []string{"#c", "a.md#no", "none.md", blob + "none"}, dead)
	assert.Equal(t, []string{
		"docs/a.md", "docs/a.md", "docs/b.md", "docs/a.md", "docs/a.md", "docs/b.md", "docs/a.md",
	}, linked)
	dead, linked = deadLinks("docs/a.md", all)
	assert.Empty(t, dead)
	assert.Equal(t, []string{"docs/b.md", "docs/b.md"}, linked)
}
