import { DurableObject } from "cloudflare:workers";

// Counter answers what the counter of own.go answers.
export class Counter extends DurableObject {
  async fetch(request) {
    const operation = new URL(request.url).pathname.split("/")[2];
    switch (operation) {
      case "noop":
        return new Response("ok");
      case "get":
        return new Response(String((await this.ctx.storage.get("n")) ?? 0));
      case "inc": {
        const n = ((await this.ctx.storage.get("n")) ?? 0) + 1;
        this.ctx.storage.put("n", n); // the output gate holds the answer
        return new Response(String(n));
      }
    }
    return new Response(`no operation ${operation}`, { status: 404 });
  }
}

// LegacyCounter is the same in a namespace without SQL.
export class LegacyCounter extends Counter {}

// SessionStore does what perdure's does for the requests that are measured: one record a
// session, which an update reads, changes and writes, and a get only reads. It lacks what
// that one does besides: checks, and the end of a session's life.
export class SessionStore extends DurableObject {
  async fetch(request) {
    const url = new URL(request.url);
    switch (url.pathname.split("/")[4]) {
      case "create": {
        const { sessionId: id, userId, data } = await request.json();
        if (await this.ctx.storage.get(id)) return Response.json({ error: "Session exists" }, { status: 409 });
        const session = { id, created: Date.now(), lastAccessed: Date.now(), userId, data };
        this.ctx.storage.put(id, session);
        return Response.json({ sessionId: id, session });
      }
      case "get": {
        const session = await this.ctx.storage.get(url.searchParams.get("id"));
        return session ? Response.json({ session }) : Response.json({ error: "Session not found" }, { status: 404 });
      }
      case "update": {
        const { sessionId: id, data } = await request.json();
        const session = await this.ctx.storage.get(id);
        if (!session) return Response.json({ error: "Session not found" }, { status: 404 });
        session.lastAccessed = Date.now();
        session.data = { ...session.data, ...data };
        this.ctx.storage.put(id, session);
        return Response.json({ session });
      }
    }
    return Response.json({ error: "Not found" }, { status: 404 });
  }
}

// The paths are /{sql or legacy}/{operation}/{name} and /objects/SESSIONS/{name}/{operation}.
export default {
  fetch(request, env) {
    const path = new URL(request.url).pathname.split("/");
    const namespace = path[1] === "objects" ? env.sessions : env[path[1]];
    return namespace.getByName(path[3]).fetch(request);
  },
};
