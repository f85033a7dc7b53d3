package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// forbidden are calls that end the process or write to its output: a library leaves both to its caller.
var forbidden = map[string][]string{
	"fmt": {"Print", "Printf", "Println"},
	"log": {
		"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln", "Print", "Printf", "Println", "Default",
	},
	"log/slog": {"Debug", "Info", "Warn", "Error", "Log", "LogAttrs"},
	"os":       {"Exit"},
	"runtime":  {"Goexit"},
}

// programs are the layers that are programs or measure: they print and exit as they like.
var programs = []string{"_examples", "benchmarks", "cmd", "cmd/esctl", "docs/service"}

// misuses lists the forbidden calls of a file.
func misuses(file source) []string {
	names := make(map[string]string) // local name of a package to its import path
	for _, spec := range file.ast.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := importPath[strings.LastIndex(importPath, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = importPath
	}

	var found []string
	ast.Inspect(file.ast, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			if slices.Contains([]string{"panic", "print", "println"}, fun.Name) {
				found = append(found, file.line(call.Pos())+": "+fun.Name)
			}
		case *ast.SelectorExpr:
			pkg, ok := fun.X.(*ast.Ident)
			if ok && slices.Contains(forbidden[names[pkg.Name]], fun.Sel.Name) {
				found = append(found, file.line(call.Pos())+": "+pkg.Name+"."+fun.Sel.Name)
			}
		}
		return true
	})
	return found
}

func TestLibrariesLeaveTheProcessAlone(t *testing.T) {
	t.Parallel()
	for _, file := range sources(t) {
		from, _ := layerOf(file.dir())
		if file.isTest() || ast.IsGenerated(file.ast) || slices.Contains(programs, from.dir) {
			continue
		}
		assert.Empty(t, misuses(file), "a library returns an error or logs to the logger that it was given")
	}
}

func TestMisusesAreFound(t *testing.T) {
	t.Parallel()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, "x.go", `package x
import (
	"fmt"
	stdlog "log"
	"log/slog"
	"os"
)
type logger struct{ *slog.Logger }
func f(l logger) error {
	l.Info("fine")
	slog.New(nil).Error("fine")
	slog.Info("not fine")
	stdlog.Fatal("not fine")
	fmt.Println("not fine")
	panic(fmt.Errorf("not fine"))
	defer os.Exit(1)
	return fmt.Errorf("fine")
}`, parser.SkipObjectResolution)
	require.NoError(t, err)
	assert.Equal(t, []string{
		"x.go:12: slog.Info", "x.go:13: stdlog.Fatal", "x.go:14: fmt.Println", "x.go:15: panic", "x.go:16: os.Exit",
	}, misuses(source{name: "x.go", ast: parsed, set: set}))
}

// Every package with tests fails when a goroutine of its tests is left over.
func TestPackagesLookForLeakedGoroutines(t *testing.T) {
	t.Parallel()
	checked := make(map[string]bool)
	for _, file := range sources(t) {
		if from, _ := layerOf(file.dir()); !file.isTest() || from.dir == "_examples" || from.dir == "benchmarks" {
			continue
		}
		checked[file.dir()] = checked[file.dir()] || verifiesGoroutines(file.ast)
	}
	for dir, verified := range checked {
		assert.True(t, verified, "%s: its TestMain must call goleak.VerifyTestMain", dir)
	}
}

func verifiesGoroutines(file *ast.File) bool {
	for _, decl := range file.Decls {
		fun, ok := decl.(*ast.FuncDecl)
		if !ok || fun.Name.Name != "TestMain" || fun.Recv != nil || fun.Body == nil {
			continue
		}
		called := false
		ast.Inspect(fun.Body, func(node ast.Node) bool {
			if sel, ok := node.(*ast.SelectorExpr); ok && sel.Sel.Name == "VerifyTestMain" {
				called = true
			}
			return !called
		})
		return called
	}
	return false
}
