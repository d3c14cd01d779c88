package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar/calmcp"
)

// fixtures makes servers with the names that the suite asks for. Each request and session
// may have a server of its own, so that what changes all must be told to all.
type fixtures struct {
	mu      sync.Mutex
	servers []*mcp.Server // guarded by mu
}

const maxServers = 4096

func (f *fixtures) server(_ calmcp.Caller, opts *mcp.ServerOptions) *mcp.Server {
	opts.CompletionHandler = complete
	s := mcp.NewServer(&mcp.Implementation{Name: "conformance-fixtures", Version: "1"}, opts)
	addContentTools(s)
	addTalkingTools(s)
	addInputTools(s)
	addResources(s)
	addPrompts(s)
	f.addChangingTools(s)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.servers = append(f.servers[max(0, len(f.servers)-maxServers):], s)
	return s
}

// each runs fn for every server.
func (f *fixtures) each(fn func(s *mcp.Server)) {
	f.mu.Lock()
	all := append([]*mcp.Server(nil), f.servers...)
	f.mu.Unlock()
	for _, s := range all {
		fn(s)
	}
}

// handler is a tool's code.
type handler func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error)

// add adds a tool; its schema takes anything if none is given.
func add(s *mcp.Server, name, description, schema string, call handler) {
	if schema == "" {
		schema = `{"type":"object"}`
	}
	t := &mcp.Tool{Name: name, Description: description, InputSchema: json.RawMessage(schema)}
	mcp.AddTool(s, t, func(ctx context.Context, r *mcp.CallToolRequest, _ map[string]any) (*mcp.CallToolResult, any, error) {
		res, err := call(ctx, r)
		return res, nil, err
	})
}

func result(content ...mcp.Content) *mcp.CallToolResult { return &mcp.CallToolResult{Content: content} }

func text(format string, args ...any) *mcp.TextContent {
	return &mcp.TextContent{Text: fmt.Sprintf(format, args...)}
}

func resource(uri, mime, body string) *mcp.EmbeddedResource {
	return &mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: uri, MIMEType: mime, Text: body}}
}

// argument returns a string among a call's arguments.
func argument(r *mcp.CallToolRequest, name string) string {
	var args map[string]any
	_ = json.Unmarshal(r.Params.Arguments, &args) // it was checked against the schema
	v, _ := args[name].(string)
	return v
}

// dot is a red PNG of one pixel, and silence a WAV of one sample.
var (
	dot     = decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==")
	silence = decode("UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQIAAACAgA==")
)

func decode(s string) []byte {
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return data
}

// addContentTools adds tools that return each kind of content.
func addContentTools(s *mcp.Server) {
	returns := func(name, description string, content ...mcp.Content) {
		add(s, name, description, "", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return result(content...), nil
		})
	}
	image := &mcp.ImageContent{Data: dot, MIMEType: "image/png"}
	returns("test_simple_text", "Returns text", text("This is a simple text response for testing."))
	returns("test_image_content", "Returns an image", image)
	returns("test_audio_content", "Returns sound", &mcp.AudioContent{Data: silence, MIMEType: "audio/wav"})
	returns("test_embedded_resource", "Returns a resource", resource("test://embedded-resource", "text/plain", "This is an embedded resource content."))
	returns("test_multiple_content_types", "Returns several kinds of content",
		text("Multiple content types test:"), image, resource("test://mixed-content-resource", "application/json", `{"test":"data","value":123}`))
	add(s, "test_error_handling", "Fails", "", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return nil, errors.New("This tool intentionally returns an error for testing")
	})
	add(s, "json_schema_2020_12_tool", "Has a schema with keywords of JSON Schema 2020-12", `{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
		"$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
		"properties": {
			"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"},
			"contactMethod": {"type": "string", "enum": ["phone", "email"]}, "phone": {"type": "string"}, "email": {"type": "string"}
		},
		"allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
		"if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
		"then": {"required": ["phone"]}, "else": {"required": ["email"]},
		"additionalProperties": false
	}`, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return result(text("valid")), nil
	})
	add(s, "test_x_mcp_header", "Wants an argument repeated in a header", `{
		"type": "object",
		"properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "level": {"type": "integer"}}
	}`, func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return result(text("region %s", argument(r, "region"))), nil
	})
}

// step is how long tools wait between their messages.
const step = 50 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// addTalkingTools adds tools that say or ask something before they return.
func addTalkingTools(s *mcp.Server) {
	logs := func(ctx context.Context, r *mcp.CallToolRequest, texts ...string) {
		for i, t := range texts {
			if i > 0 {
				sleep(ctx, step)
			}
			r.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "info", Data: t})
		}
	}
	add(s, "test_tool_with_logging", "Logs three messages", "", func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		logs(ctx, r, "Tool execution started", "Tool processing data", "Tool execution completed")
		return result(text("Logged")), nil
	})
	add(s, "test_logging_tool", "Logs a message, if the client wants any", "", func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		logs(ctx, r, "A message")
		return result(text("Logged")), nil
	})
	progress := func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		token := r.Params.GetProgressToken()
		for i, done := range []float64{0, 50, 100} {
			if i > 0 {
				sleep(ctx, step)
			}
			if token != nil {
				r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: done, Total: 100})
			}
		}
		return result(text("Done")), nil
	}
	add(s, "test_tool_with_progress", "Reports progress", "", progress)
	add(s, "test_streaming_elicitation", "Reports progress, and asks nothing", "", progress)
	add(s, "test_sampling", "Asks the client's model", `{"type":"object","properties":{"prompt":{"type":"string"}},"required":["prompt"]}`,
		func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			res, err := r.Session.CreateMessage(ctx, sampling(argument(r, "prompt"), 100))
			if err != nil {
				return nil, err
			}
			return result(text("LLM response: %s", spoken(res.Content))), nil
		})
	asks := func(name, description, schema string, question func(r *mcp.CallToolRequest) *mcp.ElicitParams, prefix string) {
		add(s, name, description, schema, func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			res, err := r.Session.Elicit(ctx, question(r))
			if err != nil {
				return nil, err
			}
			content, _ := json.Marshal(res.Content)
			return result(text("%s: action=%s, content=%s", prefix, res.Action, content)), nil
		})
	}
	asks("test_elicitation", "Asks the user", `{"type":"object","properties":{"message":{"type":"string"}},"required":["message"]}`,
		func(r *mcp.CallToolRequest) *mcp.ElicitParams {
			return elicit(argument(r, "message"), `{
				"username": {"type": "string", "description": "User's response"},
				"email": {"type": "string", "description": "User's email address"}
			}`, "username", "email")
		}, "User response")
	asks("test_elicitation_sep1034_defaults", "Asks the user, with defaults", "", func(*mcp.CallToolRequest) *mcp.ElicitParams {
		return elicit("Check these", `{
			"name": {"type": "string", "default": "John Doe"},
			"age": {"type": "integer", "default": 30},
			"score": {"type": "number", "default": 95.5},
			"status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
			"verified": {"type": "boolean", "default": true}
		}`)
	}, "Elicitation completed")
	asks("test_elicitation_sep1330_enums", "Asks the user to choose", "", func(*mcp.CallToolRequest) *mcp.ElicitParams {
		return elicit("Choose", `{
			"untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
			"titledSingle": {"type": "string", "oneOf": [{"const": "value1", "title": "First Option"}, {"const": "value2", "title": "Second Option"}, {"const": "value3", "title": "Third Option"}]},
			"legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
			"untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
			"titledMulti": {"type": "array", "items": {"anyOf": [{"const": "value1", "title": "First Choice"}, {"const": "value2", "title": "Second Choice"}, {"const": "value3", "title": "Third Choice"}]}}
		}`)
	}, "Elicitation completed")
	add(s, "test_reconnection", "Sends the client away and answers when it comes back", "", func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if r.Extra != nil && r.Extra.CloseSSEStream != nil {
			r.Extra.CloseSSEStream(mcp.CloseSSEStreamArgs{RetryAfter: 2 * step})
		}
		sleep(ctx, 2*step)
		return result(text("Back again")), nil
	})
}

func sampling(prompt string, tokens int64) *mcp.CreateMessageParams {
	return &mcp.CreateMessageParams{Messages: []*mcp.SamplingMessage{{Role: "user", Content: text("%s", prompt)}}, MaxTokens: tokens}
}

func spoken(c mcp.Content) string {
	if t, ok := c.(*mcp.TextContent); ok {
		return t.Text
	}
	return "something that is no text"
}

// elicit is a question, with the properties of its schema as JSON.
func elicit(message, properties string, required ...string) *mcp.ElicitParams {
	schema := map[string]any{"type": "object", "properties": json.RawMessage(properties)}
	if len(required) > 0 {
		schema["required"] = required
	}
	data, err := json.Marshal(schema)
	if err != nil {
		panic(err)
	}
	var plain map[string]any
	if err := json.Unmarshal(data, &plain); err != nil {
		panic(err)
	}
	return &mcp.ElicitParams{Message: message, RequestedSchema: plain}
}

// addChangingTools adds tools that change the lists of all servers.
func (f *fixtures) addChangingTools(s *mcp.Server) {
	add(s, "test_trigger_tool_change", "Changes the list of tools", "", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		f.each(func(s *mcp.Server) {
			add(s, "test_passing_tool", "Comes and goes", "", nil)
			s.RemoveTools("test_passing_tool")
		})
		return result(text("Changed")), nil
	})
	add(s, "test_trigger_prompt_change", "Changes the list of prompts", "", func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		f.each(func(s *mcp.Server) {
			s.AddPrompt(&mcp.Prompt{Name: "test_passing_prompt"}, nil)
			s.RemovePrompts("test_passing_prompt")
		})
		return result(text("Changed")), nil
	})
}

func addResources(s *mcp.Server) {
	read := func(mime string, body func(uri string) (string, []byte)) mcp.ResourceHandler {
		return func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			text, blob := body(r.Params.URI)
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, MIMEType: mime, Text: text, Blob: blob}}}, nil
		}
	}
	words := func(text string) func(string) (string, []byte) {
		return func(string) (string, []byte) { return text, nil }
	}
	s.AddResource(&mcp.Resource{URI: "test://static-text", Name: "text", Description: "A text", MIMEType: "text/plain"},
		read("text/plain", words("This is the content of the static text resource.")))
	s.AddResource(&mcp.Resource{URI: "test://static-binary", Name: "picture", Description: "A picture", MIMEType: "image/png"},
		read("image/png", func(string) (string, []byte) { return "", dot }))
	s.AddResource(&mcp.Resource{URI: "test://watched-resource", Name: "watched", Description: "For subscriptions", MIMEType: "text/plain"},
		read("text/plain", words("Watched.")))
	s.AddResourceTemplate(&mcp.ResourceTemplate{URITemplate: "test://template/{id}/data", Name: "template", Description: "One of many", MIMEType: "application/json"},
		read("application/json", func(uri string) (string, []byte) {
			id := strings.TrimSuffix(strings.TrimPrefix(uri, "test://template/"), "/data")
			body, _ := json.Marshal(map[string]any{"id": id, "templateTest": true, "data": "Data for ID: " + id})
			return string(body), nil
		}))
}

func addPrompts(s *mcp.Server) {
	says := func(content ...mcp.Content) *mcp.GetPromptResult {
		res := new(mcp.GetPromptResult)
		for _, c := range content {
			res.Messages = append(res.Messages, &mcp.PromptMessage{Role: "user", Content: c})
		}
		return res
	}
	needs := func(names ...string) (all []*mcp.PromptArgument) {
		for _, name := range names {
			all = append(all, &mcp.PromptArgument{Name: name, Description: "An argument", Required: true})
		}
		return all
	}
	prompt := func(name string, args []*mcp.PromptArgument, get func(args map[string]string) *mcp.GetPromptResult) {
		s.AddPrompt(&mcp.Prompt{Name: name, Description: "For the suite", Arguments: args}, func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return get(r.Params.Arguments), nil
		})
	}
	prompt("test_simple_prompt", nil, func(map[string]string) *mcp.GetPromptResult {
		return says(text("This is a simple prompt for testing."))
	})
	prompt("test_prompt_with_arguments", needs("arg1", "arg2"), func(a map[string]string) *mcp.GetPromptResult {
		return says(text("Prompt with arguments: arg1='%s', arg2='%s'", a["arg1"], a["arg2"]))
	})
	prompt("test_prompt_with_embedded_resource", needs("resourceUri"), func(a map[string]string) *mcp.GetPromptResult {
		return says(resource(a["resourceUri"], "text/plain", "Embedded resource content for testing."), text("Please process the embedded resource above."))
	})
	prompt("test_prompt_with_image", nil, func(map[string]string) *mcp.GetPromptResult {
		return says(&mcp.ImageContent{Data: dot, MIMEType: "image/png"}, text("Please analyze the image above."))
	})
	s.AddPrompt(&mcp.Prompt{Name: "test_input_required_result_prompt", Description: "Asks the user first"}, func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		if v, ok := answered(r.Params.InputResponses, "user_context", "context"); ok {
			return says(text("In the context of %s", v)), nil
		}
		return &mcp.GetPromptResult{InputRequests: mcp.InputRequestMap{
			"user_context": elicit("What context should the prompt use?", `{"context":{"type":"string"}}`, "context"),
		}}, nil
	})
}

func complete(_ context.Context, r *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
	values := []string{} // none is a list, too
	for _, v := range []string{"paris", "park", "party"} {
		if strings.HasPrefix(v, r.Params.Argument.Value) {
			values = append(values, v)
		}
	}
	return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: values, Total: len(values)}}, nil
}
