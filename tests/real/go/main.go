// Sends the messages of one case and prints one JSON line for each, in the order of sending.
//
//	produce --url --token --topic --case [--producer]; --case list prints the cases
//
// The Java client's cases are the model; here are those that this client writes in its own way.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "go-client:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 || arguments[0] != "produce" {
		return fmt.Errorf("the command is produce; see tests/real/README.md")
	}
	var options options
	flags := flag.NewFlagSet("produce", flag.ContinueOnError)
	flags.StringVar(&options.url, "url", "", "")
	flags.StringVar(&options.token, "token", "", "")
	flags.StringVar(&options.topic, "topic", "", "")
	flags.StringVar(&options.producer, "producer", "", "")
	name := flags.String("case", "", "")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	if *name == "list" {
		for _, it := range cases {
			fmt.Println(it.name)
		}
		return nil
	}
	for _, it := range cases {
		if it.name == *name {
			session, err := open(options)
			if err != nil {
				return err
			}
			return it.send(session)
		}
	}
	return fmt.Errorf("no case %q; --case list prints them", *name)
}
