package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// machine describes the hardware of the measurements, without its name or owner.
type machine struct {
	CPU  string `json:"cpu"`
	CPUs int    `json:"cpus"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
	Go   string `json:"go"`
}

func (m machine) String() string {
	return fmt.Sprintf("%d × %s, %s/%s, %s", m.CPUs, m.CPU, m.OS, m.Arch, m.Go)
}

func describeMachine() machine {
	return machine{
		CPU: cpuModel(), CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(),
	}
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return "unknown CPU"
}
