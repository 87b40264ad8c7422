//! The values that labels can take, as enums: a count is bumped by index, without a string or a lock.
//!
//! A value is added here in one line; tables, `/metrics` and OTLP follow.

/// A label's closed set of values.
pub trait Label: Copy + 'static {
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The place in [`Label::ALL`].
    fn index(self) -> usize;
    /// The value as it is shown.
    fn text(self) -> &'static str;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$value_doc])* $value,)+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value,)+];
            fn index(self) -> usize {
                self as usize
            }
            fn text(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }
    };
}

label! {
    /// What an event from the kernel tells of.
    EventKind {
        /// A socket call moved bytes.
        Data = "data",
        /// The peer's end of stream was read.
        EndOfStream = "end_of_stream",
        /// A connection was closed.
        Closed = "closed",
        /// A traced process made a child.
        Fork = "fork",
        /// A process replaced its program.
        Exec = "exec",
        /// A traced process ended.
        Exit = "exit",
        /// A process began to listen.
        Listen = "listen",
        /// A process's threads were found to share requests.
        Multiplexed = "multiplexed",
        /// A process that is no longer traced; said by the agent itself.
        Released = "released",
        /// A task ended that worked for what its maker worked for.
        Inherited = "inherited",
    }
}

label! {
    /// Which end of an exchange the traced process was.
    Side {
        /// It answered.
        Server = "server",
        /// It asked.
        Client = "client",
    }
}

label! {
    /// What became of an event that the pipeline did not get.
    EventLoss {
        /// The kernel's ring buffer had no room for it.
        RingBufferFull = "ring_buffer_full",
        /// It is none that this version knows.
        Damaged = "damaged",
        /// Too many events waited for a word on whether their processes are traced.
        Unjudged = "unjudged",
    }
}

label! {
    /// What the kernel side had no room to follow.
    Untracked {
        /// Connections beyond `max-connections`.
        Connections = "connections",
        /// Processes beyond `max-processes`.
        Processes = "processes",
        /// Socket calls under way.
        Calls = "calls",
    }
}

label! {
    /// What the pipeline holds.
    Tracked {
        /// Connections.
        Connections = "connections",
        /// Exchanges that are open, or over and not yet spans.
        Exchanges = "exchanges",
    }
}

label! {
    /// Why an exchange did not become a span.
    DropReason {
        /// Bytes of the stream were not seen, and the framing after them is not certain.
        StreamGap = "stream_gap",
        /// Its response was seen, its request was not.
        RequestMissing = "request_missing",
        /// What was taken for HTTP turned out not to be.
        NotHttp = "not_http",
        /// The exchange did not end within `max-duration`, or its connection did before the request's head was whole.
        Unfinished = "unfinished",
        /// More at once than are held, on its connection or in all.
        TooMany = "too_many",
        /// A path or user-agent rule leaves it out.
        Excluded = "excluded",
        /// The sampler said no.
        Sampled = "sampled",
        /// The agent stopped before the exchange was over.
        Shutdown = "shutdown",
        /// Its process was taken out of the selection before the exchange was over.
        NotSelected = "not_selected",
        /// Its process was found to have a tracer of its own.
        Instrumented = "instrumented",
    }
}

label! {
    /// What came of a look at the settings file.
    ReloadResult {
        /// Its settings are in effect.
        Applied = "applied",
        /// It is not understood or not allowed; the settings before it stay in effect.
        Refused = "refused",
    }
}

label! {
    /// Why a span was not delivered.
    SpanLoss {
        /// The export queue was full.
        QueueFull = "queue_full",
        /// The receiver refused the span (a partial success).
        Rejected = "rejected",
        /// The export failed for good, or the retries ran out.
        ExportFailed = "export_failed",
        /// The agent stopped before it could be sent.
        Shutdown = "shutdown",
    }
}

label! {
    /// On what a span's parent was known.
    LinkEvidence {
        /// Both ends of the connection were seen.
        Wire = "wire",
        /// A trace header in the message.
        Header = "header",
        /// The runtime's own task identity.
        Task = "task",
        /// The thread that served the outer exchange.
        Thread = "thread",
        /// The context that opened the connection.
        Connect = "connect",
        /// A request id that the application forwarded.
        ForwardedId = "forwarded_id",
        /// None: the span is a root.
        None = "none",
    }
}

label! {
    /// Why a link was taken back.
    Withdrawal {
        /// Another exchange was answered by the call's end, and was open when the call was made.
        Contradicted = "contradicted",
        /// Another exchange may have made the call, and nothing says that it did not.
        Unproven = "unproven",
        /// Those that may have made it were not answered in time.
        Unanswered = "unanswered",
    }
}

label! {
    /// How an export request ended; each repetition is a request of its own.
    RequestResult {
        /// It was taken, in whole or in part.
        Success = "success",
        /// It failed; what can be repeated is.
        Failure = "failure",
    }
}

label! {
    /// What became of a span that was handed to the exporter.
    SpanResult {
        /// The receiver took it.
        Success = "success",
        /// The receiver refused it.
        Rejected = "rejected",
        /// It could not be sent.
        Failure = "failure",
    }
}

label! {
    /// How the agent treats a process.
    ProcessState {
        /// Its sockets are read.
        Traced = "traced",
        /// It matches no selection.
        NotSelected = "not_selected",
        /// It has a tracer of its own and is left alone.
        Instrumented = "instrumented",
        /// It matches, but could not be traced; `/status` says why.
        Failed = "failed",
    }
}

label! {
    /// What is watched in Kubernetes.
    Watched {
        /// This node's pods.
        Pods = "pods",
        /// All namespaces.
        Namespaces = "namespaces",
    }
}

label! {
    /// Why a watch failed.
    WatchError {
        /// The API server did not answer, or the connection broke.
        Unreachable = "unreachable",
        /// It does not accept the agent's credentials.
        Unauthorized = "unauthorized",
        /// It does not allow the agent to watch.
        Forbidden = "forbidden",
        /// What the watch was to go on from is too long ago.
        Expired = "expired",
        /// Anything else.
        Other = "other",
    }
}
