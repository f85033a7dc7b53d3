package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const module = "github.com/watermill-eventstore/watermill-eventstore"

// source is one parsed Go file. Paths have slashes and are relative to the top of the repository.
type source struct {
	name string
	ast  *ast.File
	set  *token.FileSet
}

func (s source) dir() string  { return path.Dir(s.name) }
func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

func (s source) line(pos token.Pos) string {
	return s.name + ":" + strconv.Itoa(s.set.Position(pos).Line)
}

func (s source) imports(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, spec := range s.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err, s.name)
		paths = append(paths, p)
	}
	return paths
}

const top = "../.." // of the repository

// files lists the files of the repository with an extension: of all modules, no testdata and no hidden directories.
func files(t *testing.T, ext string) (names []string) {
	t.Helper()
	require.FileExists(t, filepath.Join(top, "go.mod"))
	err := filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := entry.Name(); name != top && (strings.HasPrefix(base, ".") || base == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ext {
			return nil
		}
		rel, err := filepath.Rel(top, name)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, names)
	return names
}

// read returns the text of a file that files lists.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(text)
}

// sources parses every Go file, with any build tags.
func sources(t *testing.T) (parsed []source) {
	t.Helper()
	set := token.NewFileSet()
	for _, name := range files(t, ".go") {
		file, err := parser.ParseFile(set, name, read(t, name), parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		parsed = append(parsed, source{name: name, ast: file, set: set})
	}
	return parsed
}
