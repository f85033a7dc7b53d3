package docs

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

const module = "github.com/watermill-eventstore/watermill-eventstore"

// verb is a command of Go that packages are named for.
var verb = regexp.MustCompile(`\bgo( -C \S+)? (test|run|build|vet|generate)\b`)

// standIns are the commands of Go that are not run as they are. The first that matches counts.
var standIns = []struct {
	is  *regexp.Regexp
	run func(s *shell, line string)
	why string
}{
	{regexp.MustCompile(`\bgo (get|install) `), (*shell).published, "fetches the module from where it is published"},
	{regexp.MustCompile(`\bgo run \./cmd/estest\b`), (*shell).serve, "serves until it is interrupted, at fixed ports"},
	{regexp.MustCompile(`\bgo( -C \S+)? test\b`), (*shell).dry, "takes minutes; other steps of .ci/run run the tests"},
	{regexp.MustCompile(`\bgo -C benchmarks run\b`), (*shell).dry, "takes minutes"},
	{regexp.MustCompile(`\bgo -C docs run\b`), (*shell).dry, "serves until it is interrupted; its test runs it"},
	{regexp.MustCompile(`\bgo -C _examples/\S+ run\b`), (*shell).dry, "the step examples of .ci/run runs it"},
	{regexp.MustCompile(`\bgo generate\b`), (*shell).dry, "needs protoc, and changes files"},
}

// shell runs the commands of one page.
type shell struct {
	t      *testing.T
	faults assert.TestingT // gets the faults of a command
	server *estest.Server
	at     string   // the page and the line
	dir    string   // below top
	env    []string // exported
	estest string   // the programs
	esctl  string
}

// The lines of a block: a backslash at the end joins two. A comment begins a line, or follows two spaces.
var (
	continued = regexp.MustCompile(`\\\n\s*`)
	comment   = regexp.MustCompile(`(^|\s{2,})#.*`)
	tested    = regexp.MustCompile(`(^|[|;&(]\s*|\bdo\s+)(\w+=\S* )*(go|esctl) `)
	exported  = regexp.MustCompile(`^export (\w+)=(.*)$`)
	changed   = regexp.MustCompile(`^cd (\S+)$`)
)

func (s *shell) block(b block) {
	for line := range strings.Lines(continued.ReplaceAllString(b.text, " ")) {
		line = strings.TrimSpace(comment.ReplaceAllString(line, ""))
		s.at = b.page + ": " + line
		assert.NotContains(s.faults, line, "<<", "%s: a here document is not understood", s.at)
		switch {
		case changed.MatchString(line):
			if dir := changed.FindStringSubmatch(line)[1]; dir != "watermill-eventstore" { // the clone
				s.dir = filepath.Join(s.dir, dir)
				assert.DirExists(s.faults, filepath.Join(top, s.dir), s.at)
			}
		case exported.MatchString(line):
			m := exported.FindStringSubmatch(line)
			s.env = append(s.env, m[1]+"="+strings.Trim(onServer(m[2], s.server), `'"`))
		case tested.MatchString(line):
			s.run(line)
		}
	}
}

// run runs a line, or its replacement.
func (s *shell) run(line string) {
	for _, in := range standIns {
		if in.is.MatchString(line) {
			in.run(s, line)
			return
		}
	}
	s.sh(onServer(line, s.server))
}

func (s *shell) sh(line string) {
	cmd := command(s.t, filepath.Join(top, s.dir), "sh", "-c", line)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(s.esctl)+":"+os.Getenv("PATH"), "GOFLAGS=-buildvcs=false",
		"EVENTSTORE_URL="+s.server.ConnectionString()+"?httpEndpoint="+s.server.HTTPAddr())
	cmd.Env = append(cmd.Env, s.env...)
	out, err := cmd.CombinedOutput()
	assert.NoError(s.faults, err, "%s\n%s", s.at, out)
}

// published looks whether the package is there, in the module that has its name.
func (s *shell) published(line string) {
	words := strings.Fields(line)
	pkg, _, _ := strings.Cut(words[len(words)-1], "@")
	assert.True(s.faults, pkg == module || strings.HasPrefix(pkg, module+"/"), s.at)
	dir := filepath.Join(top, strings.TrimPrefix(pkg, module))
	assert.FileExists(s.faults, filepath.Join(dir, "go.mod"), s.at)
}

// dry has the go command look at flags and packages, and run nothing.
func (s *shell) dry(line string) { s.sh(verb.ReplaceAllString(line, "$0 -n")) }

// serve starts the server at free ports, waits until it serves, and interrupts it.
func (s *shell) serve(line string) {
	_, flags, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(line), "&"), "./cmd/estest")
	cmd := command(s.t, s.t.TempDir(), "sh", "-c", "exec "+s.estest+flags+" -tcp 127.0.0.1:0 -http 127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	serves := false
	for lines := bufio.NewScanner(stdout); !serves && lines.Scan(); {
		serves = strings.HasPrefix(lines.Text(), "TCP ")
	}
	assert.True(s.faults, serves, s.at)
	require.NoError(s.t, cmd.Process.Signal(syscall.SIGTERM), s.at)
	_, err = io.Copy(io.Discard, stdout)
	require.NoError(s.t, err, s.at)
	if err := cmd.Wait(); serves {
		assert.NoError(s.faults, err, s.at)
	}
}

func newShell(t *testing.T) *shell {
	return &shell{t: t, faults: t, estest: build(t, ".", "./cmd/estest"), esctl: build(t, "cmd/esctl", "../esctl")}
}

func TestCommandsOfDocumentsRun(t *testing.T) {
	t.Parallel()
	names, all := pages(t)
	s := newShell(t)
	for _, name := range names {
		s.server, s.dir, s.env = estest.Run(t, estest.WithPersona(estest.Persona2310)), "", nil
		for _, b := range all[name] {
			if b.lang == "sh" {
				s.block(b)
			}
		}
	}
}

func TestCommandsThatFailAreFound(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for text, ok := range map[string]bool{
		"esctl ping\n":                          true,
		"esctl pong\n":                          false,
		"esctl ping \\\n  --nonsense\n":         false,
		"printf x | esctl read\n":               false,
		"X=1 go version\n":                      true,
		"go nonsense\n":                         false,
		"cd esclient\ngo list .\n":              true,
		"cd nowhere\n":                          false,
		"go get " + module + "\n":               true,
		"go get " + module + "/essql  # x\n":    true,
		"go get " + module + "/nonsense\n":      false,
		"go install " + module + "/esclient@v1": false,
		"go test ./esclient/...\n":              true,
		"go test ./nonsense\n":                  false,
		"X=1 go -C nonsense test ./...":         false,
		"go -C _examples/quickstart run .":      true,
		"go -C _examples/nonsense run .":        false,
		"go run ./cmd/estest -persona 23.10 &":  true,
		"go run ./cmd/estest -nonsense":         false,
		"export EVENTSTORE_URL=tcp://127.0.0.1:1\nesctl ping --timeout 10ms":          false,
		"export EVENTSTORE_URL='tcp://admin:changeit@127.0.0.1:1113'\nesctl groups\n": true,
		"docker compose up\n": true,
		"cat << END\n":        false,
	} {
		var found faults
		shell := *s
		shell.faults, shell.server = &found, estest.Run(t)
		shell.block(block{text: text})
		assert.Equal(t, ok, len(found) == 0, "%s: %s", text, found)
	}
}

var (
	makes  = regexp.MustCompile(`\bmake ([a-z_]+)`)
	inline = regexp.MustCompile("`[^`\n]+`")
)

func TestTargetsOfMakeExist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(top, "Makefile"))
	require.NoError(t, err)
	looked := 0
	for name, text := range markdown(t) {
		code := inline.FindAllString(outsideBlocks(text), -1)
		for _, b := range blocks(name, text) {
			if b.lang == "sh" {
				code = append(code, comment.ReplaceAllString(b.text, ""))
			}
		}
		for _, found := range makes.FindAllStringSubmatch(strings.Join(code, "\n"), -1) {
			looked++
			assert.Regexp(t, `(?m)^(.* )?`+found[1]+`( .*)?:`, string(makefile), "%s: make %s", name, found[1])
		}
	}
	assert.Greater(t, looked, 10)
}
