package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// expectation is the flag --expect: the version that a write expects of its stream.
type expectation struct{ version esclient.ExpectedVersion }

var _ pflag.Value = (*expectation)(nil)

var expectations = map[string]esclient.ExpectedVersion{
	"any": esclient.Any, "none": esclient.NoStream, "exists": esclient.StreamExists,
}

func (e *expectation) addTo(flags *pflag.FlagSet) {
	e.version = esclient.Any
	flags.Var(e, "expect", "what the stream must be: any, none, exists, or the number of its last event")
}

// Set implements pflag.Value.
func (e *expectation) Set(s string) error {
	if version, ok := expectations[s]; ok {
		e.version = version
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is none of any, none, exists and an event number", s)
	}
	e.version = esclient.ExpectedVersion(n)
	return nil
}

// String implements pflag.Value.
func (e *expectation) String() string {
	for name, version := range expectations {
		if version == e.version {
			return name
		}
	}
	return strconv.FormatInt(int64(e.version), 10)
}

// Type implements pflag.Value.
func (e *expectation) Type() string { return "version" }
