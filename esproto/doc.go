// Package esproto is the wire format of EventStore's legacy TCP protocol, for servers 4.1 to 23.10: frames, commands,
// credentials, the .NET byte order of event ids and the protobuf messages.
//
// Both sides use it: the client in esclient and the embedded server in estest. It has no connections of its own.
//
// It has two codecs. The types of messages.pb.go are generated from messages.proto and cover every message. The hot
// messages (append, read pages, pushed events, acks) also have a hand-written codec: decoders named …View, whose
// strings and byte slices alias their frame, and encoders that append to a buffer. A differential fuzz test checks that
// both codecs agree on every input. A View is valid until its frame changes.
//
// The package never panics on input from the network: malformed input is an error.
//
// protoc (3.21 or later) and protoc-gen-go, at the version of google.golang.org/protobuf in go.mod, generate
// messages.pb.go:
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go
//	go generate ./esproto
package esproto

//go:generate protoc --proto_path=.. --go_out=.. --go_opt=paths=source_relative esproto/messages.proto
