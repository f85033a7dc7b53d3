package undertest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// AgainAsOthers runs tests of the package under test again as Plain and as Ops, each in its own process. It runs the
// tests that call one of the givers, which are functions that give a test its server, except those that match but. At
// least so many tests must succeed, none may fail, and others may be skipped. In such a process, and on a real server,
// AgainAsOthers does nothing: there the environment sets the user.
func AgainAsOthers(t *testing.T, givers []string, but string, atLeast int) {
	t.Helper()
	if Real() != "" || os.Getenv(RunAs) != "" {
		t.Skip("the environment sets the user")
	}
	tests := callersOf(t, givers)
	for _, user := range []string{Plain, Ops} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			//nolint:gosec // the binary is this one
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.short", "-test.timeout=5m",
				"-test.run", "^("+strings.Join(tests, "|")+")$", "-test.skip", but)
			cmd.Env = append(os.Environ(), RunAs+"="+user)
			out, err := cmd.CombinedOutput()
			if n := len(passed.FindAll(out, -1)); err != nil || n < atLeast {
				t.Fatalf("%s=%s: %v; %d tests succeeded, want %d and no failure\n%s",
					RunAs, user, err, n, atLeast, progress.ReplaceAll(out, nil))
			}
		})
	}
}

var (
	passed   = regexp.MustCompile(`(?m)^--- PASS`)
	progress = regexp.MustCompile(`(?m)^ *(=== |--- PASS|--- SKIP).*\n`) // output of -v that is no failure
)

// callersOf returns the tests in the current directory that call one of the givers.
func callersOf(t *testing.T, givers []string) (tests []string) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			fun, ok := decl.(*ast.FuncDecl)
			if ok && fun.Recv == nil && strings.HasPrefix(fun.Name.Name, "Test") && calls(fun, givers) {
				tests = append(tests, fun.Name.Name)
			}
		}
	}
	return tests
}

func calls(fun *ast.FuncDecl, givers []string) (found bool) {
	ast.Inspect(fun, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			name, is := call.Fun.(*ast.Ident)
			found = found || is && slices.Contains(givers, name.Name)
		}
		return !found
	})
	return found
}
