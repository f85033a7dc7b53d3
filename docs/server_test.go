package docs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// The server that documents name.
var (
	tcpOfURL  = regexp.MustCompile(`((?:@|//)(?:127\.0\.0\.1|localhost):1113)(\?)?`)
	tcpOfPage = regexp.MustCompile(`\b(127\.0\.0\.1|localhost):1113\b`)
	httpOf    = regexp.MustCompile(`\b(127\.0\.0\.1|localhost):2113\b`)
)

// onServer puts an embedded server in the place of the one that a text names. The client derives the port of HTTP from
// the host, so a URL of the embedded server has to name it.
func onServer(text string, server *estest.Server) string {
	text = tcpOfURL.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasSuffix(found, "?") {
			return found + "httpEndpoint=" + server.HTTPAddr() + "&"
		}
		return found + "?httpEndpoint=" + server.HTTPAddr()
	})
	text = tcpOfPage.ReplaceAllString(text, server.Addr())
	return httpOf.ReplaceAllString(text, server.HTTPAddr())
}

func TestTheServerOfATextIsReplaced(t *testing.T) {
	t.Parallel()
	server := estest.Run(t)
	tcp, http := server.Addr(), server.HTTPAddr()
	for text, want := range map[string]string{
		`"tcp://a:b@localhost:1113"`:         `"tcp://a:b@` + tcp + `?httpEndpoint=` + http + `"`,
		`'tcp://127.0.0.1:1113?heartbeat=5'`: `'tcp://` + tcp + `?httpEndpoint=` + http + `&heartbeat=5'`,
		`-tcp 127.0.0.1:1113 127.0.0.1:2113`: `-tcp ` + tcp + ` ` + http,
		`discover://localhost:2113`:          `discover://` + http,
		`node-1:1113, 127.0.0.1:11130`:       `node-1:1113, 127.0.0.1:11130`,
	} {
		assert.Equal(t, want, onServer(text, server))
	}
}

// command prepares a program whose time is limited.
func command(t *testing.T, dir, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	return cmd
}

// build builds a program of the repository and returns its path.
func build(t *testing.T, module, pkg string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), filepath.Base(pkg))
	out, err := command(t, filepath.Join(top, module), "go", "build", "-buildvcs=false", "-o", program, pkg).
		CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// faults collects the failures that a test would report.
type faults []string

func (f *faults) Errorf(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// output is the expected output in a comment of a program, as in a Go example.
var output = regexp.MustCompile(`(?m)^\s*// Output:\n((?:\s*//.*\n?)*)`)

// runProgram runs a block on a server of its own.
func runProgram(t *testing.T, faults assert.TestingT, b block) {
	t.Helper()
	server := estest.Run(t, estest.WithPersona(estest.Persona2310), estest.WithProjections())
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(onServer(b.text, server)), 0o600))
	cmd := command(t, t.TempDir(), build(t, "docs", file))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	assert.NoError(faults, cmd.Run(), "%s:%d: %s", b.page, b.line, &stderr)
	if want := output.FindStringSubmatch(b.text); want != nil {
		lines := regexp.MustCompile(`(?m)^\s*// ?`).ReplaceAllString(want[1], "")
		assert.Equal(faults, strings.TrimSpace(lines), strings.TrimSpace(stdout.String()), "%s:%d", b.page, b.line)
	}
}

func TestProgramsOfDocumentsRun(t *testing.T) {
	t.Parallel()
	names, all := pages(t)
	for _, name := range names {
		for _, b := range all[name] {
			if b.lang == "go" && b.run {
				runProgram(t, t, b)
			}
		}
	}
}

func TestProgramsThatFailAreFound(t *testing.T) {
	t.Parallel()
	const program = `package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"` + module + `/esclient"
)

func main() {
	client, err := esclient.Open("tcp://admin:changeit@%s:1113")
	if err != nil {
		os.Exit(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err = client.Ping(ctx); err != nil {
		os.Exit(1)
	}
	fmt.Println("It answers,")
	fmt.Println("so.")
	// Output:
	// It answers,
	// %s
	os.Exit(%d)
}
`
	for want, b := range map[string]string{
		"":              fmt.Sprintf(program, "localhost", "so.", 0),
		"exit status 1": fmt.Sprintf(program, "localhost", "so.", 1),
		"Not equal":     fmt.Sprintf(program, "localhost", "not.", 0),
	} {
		var found faults
		runProgram(t, &found, block{text: b})
		if want == "" {
			assert.Empty(t, found)
			continue
		}
		assert.Len(t, found, 1)
		assert.Contains(t, fmt.Sprint(found), want)
	}
}
