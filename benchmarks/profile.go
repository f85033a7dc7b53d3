package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/pprof"
)

// profileVariable names, for a process of a run, the file for its CPU profile.
const profileVariable = "WATERMILL_BENCHMARKS_PROFILE"

var notInFileNames = regexp.MustCompile(`[^A-Za-z0-9]+`)

// profileOf names the file for the profile of one process; empty for none. Later rounds overwrite it.
func (o *options) profileOf(scenario, process string) string {
	if o.profiles == "" {
		return ""
	}
	return filepath.Join(o.profiles, notInFileNames.ReplaceAllString(scenario+" "+process, "-")+".pprof")
}

// profileFile opens the file for this process's profile; nil if none is wanted.
func profileFile() (*os.File, error) {
	path := os.Getenv(profileVariable)
	if path == "" {
		return nil, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("-profile: %w", err)
	}
	return f, nil
}

// startProfile begins the profile of this process, if one is wanted. stop ends it.
func startProfile() (stop func(), err error) {
	f, err := profileFile()
	if err != nil || f == nil {
		return func() {}, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}
