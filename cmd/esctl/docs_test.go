package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// variable matches the parts that differ between runs: ids, times, numbers, and the width of columns.
var variable = []struct {
	is *regexp.Regexp
	as string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "ID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`), "TIME"},
	{regexp.MustCompile(`C:\d+/P:\d+`), "POSITION"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`[\d.]+(µs|ms|s)\b`), "DURATION"},
	{regexp.MustCompile(`Leader true ADDRESS (\S+) \d+ \d+`), "Leader true ADDRESS $1 N N"},
}

// shape is the part of a text that all runs share.
func shape(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.Join(strings.Fields(line), " ")
		for _, v := range variable {
			line = v.is.ReplaceAllString(line, v.as)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestTheCommandsOfThePageWork(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/esctl.md")
	require.NoError(t, err)
	server := estest.Run(t, estest.WithPersona(estest.Persona2310))
	s := on(t, server)
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		for _, session := range regexp.MustCompile(`(?m)^\$ `).Split(block[1], -1)[1:] {
			command, want, _ := strings.Cut(session, "\n")
			cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
			cmd.Env = append(s.command().Env, "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s\n%s", command, out)
			assert.Equal(t, shape(want), shape(string(out)), command)
			ran++
		}
	}
	assert.Greater(t, ran, 15)
}

// The statuses are a promise: the page has each of them, with its number.
func TestThePageHasEveryStatus(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/esctl.md")
	require.NoError(t, err)
	for _, code := range []int{
		exitOK, exitFailed, exitUsage, exitUnknown, exitUnreachable, exitDenied, exitNotFound, exitConflict,
		exitUnsupported, exitUnconfirmed, exitOverLimit, exitInterrupted,
	} {
		assert.Contains(t, string(page), "\n| "+strconv.Itoa(code)+" | ")
	}
}

func TestShape(t *testing.T) {
	t.Parallel()
	assert.Equal(t, shape("a  C:1/P:2 in 1.5ms"), shape("a C:10/P:20 in 102µs\n"))
	assert.NotEqual(t, shape("a 1"), shape("a 2"))
}
