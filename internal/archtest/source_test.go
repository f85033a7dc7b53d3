package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
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

// sources parses every Go file of the repository: all modules, all build tags, no testdata and no hidden directories.
func sources(t *testing.T) []source {
	t.Helper()
	top, err := filepath.Abs("../..")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(top, "go.mod"))

	var files []source
	set := token.NewFileSet()
	err = filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := entry.Name(); name != top && (strings.HasPrefix(base, ".") || base == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		parsed, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		files = append(files, source{name: filepath.ToSlash(rel), ast: parsed, set: set})
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}
