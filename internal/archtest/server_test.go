package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// belowTheServer is the directory of estest's packages without connections: its log and its groups.
const belowTheServer = "estest/internal"

// sockets are packages that only the server itself may know.
var sockets = []string{"net", "crypto/tls", module + "/estest"}

// frames are the names of esproto for the frames that go over a connection. Messages and ids are none.
var frames = regexp.MustCompile(`^(Cmd[A-Z].*|Command|Flag[A-Z].*|.*Header|.*Frames?|.*FrameSize|.*FrameReader|` +
	`Credentials|SplitCredentials|AppendCredentials)$`)

// TestTheServersPartsKnowNoSockets holds that the log and the groups can be used, and tested, without a connection.
func TestTheServersPartsKnowNoSockets(t *testing.T) {
	t.Parallel()
	looked := 0
	for _, file := range sources(t) {
		if !strings.HasPrefix(file.dir(), belowTheServer+"/") {
			continue
		}
		looked++
		for _, wrong := range knowsSockets(file.imports(t), file.ast) {
			t.Errorf("%s knows %s, which is for the server in package estest", file.name, wrong)
		}
	}
	assert.Greater(t, looked, 10)
}

// knowsSockets lists the names in a file that belong to connections and frames.
func knowsSockets(imports []string, file *ast.File) (found []string) {
	for _, path := range imports {
		for _, socket := range sockets {
			if path == socket || within(path, socket) && socket == "net" {
				found = append(found, path)
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "esproto" && frames.MatchString(sel.Sel.Name) {
				found = append(found, "esproto."+sel.Sel.Name)
			}
		}
		return true
	})
	return found
}

func TestSocketsAreFound(t *testing.T) {
	t.Parallel()
	parse := func(body string) *ast.File {
		file, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc f() {"+body+"}", 0)
		require.NoError(t, err)
		return file
	}
	for _, path := range []string{"net", "net/http", "crypto/tls", module + "/estest"} {
		assert.Equal(t, []string{path}, knowsSockets([]string{"fmt", path}, parse("")))
	}
	for _, name := range []string{
		"CmdWriteEvents", "Command", "Header", "AppendHeader", "EndFrame", "NewFrameReader", "MaxFrameSize",
		"FlagAuthenticated", "Credentials",
	} {
		assert.Equal(t, []string{"esproto." + name}, knowsSockets(nil, parse("_ = esproto."+name)))
	}
	assert.Empty(t, knowsSockets([]string{module + "/estest/internal/eventlog", "netip"},
		parse("_ = esproto.CorrelationID{}; _ = esproto.WriteEvents{}; _ = esproto.OperationResult_Success")))
}
