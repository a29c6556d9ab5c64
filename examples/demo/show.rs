//! The show: each step's heading, the line that would send it, and what comes back.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use runwright::grpc::proto::{
    RunRequest, SubmitRunInputRequest, UpdateRunHeadersRequest, agent_service_client::AgentServiceClient,
    catalog_service_client::CatalogServiceClient, run_event::Event,
};
use tonic::transport::Channel;

use crate::{
    Fallible,
    calls::{Call, Reply},
    events, failure, paint, render,
    service::Service,
    shop::Executed,
    steps::{self, Step, TOKENS},
};

/// A backend that shows what it does.
pub struct Show {
    address: SocketAddr,
    model: String,
    scripted: bool,
    agents: AgentServiceClient<Channel>,
    catalog: CatalogServiceClient<Channel>,
    executed: Executed,
}

/// What a step shows, kept for a look at whether it is what it should be.
#[derive(Default)]
pub struct Answer {
    text: String,
}

impl Show {
    /// A backend of that service, which can see what the shop executes.
    pub fn new(service: &Service, executed: Executed) -> Fallible<Self> {
        let channel = service.channel()?;
        Ok(Self {
            address: service.address,
            model: service.model.clone(),
            scripted: service.scripted,
            agents: AgentServiceClient::new(channel.clone()),
            catalog: CatalogServiceClient::new(channel),
            executed,
        })
    }

    /// Shows every step; fails if one does not come back as expected.
    pub async fn steps(&self) -> Fallible<()> {
        self.opening()?;
        for (number, step) in (1..).zip(steps::all()) {
            self.line(number, &step)?;
            let mut answer = Answer::default();
            self.perform(&step.call, &mut answer).await?;
            writeln!(anstream::stdout())?;
            self.check(&step, &answer).map_err(|wrong| format!("step {number}: {wrong}"))?;
        }
        let mut out = anstream::stdout();
        writeln!(out, "{}", paint::good("Everything came back as expected."))?;
        writeln!(
            out,
            "Next: `make demo SERVE=1` keeps it serving on port 50051, for these lines and your own."
        )?;
        writeln!(out, "The shop's and the agent's headers stand in examples/demo/config.yaml.")?;
        Ok(())
    }

    /// Shows the lines alone, for somebody else to send.
    pub fn lines(&self) -> Fallible<()> {
        self.opening()?;
        for (number, step) in (1..).zip(steps::all()) {
            self.line(number, &step)?;
            if let Call::RunWaiting(_, reply) = &step.call {
                self.reply_line(&format!("From another terminal. {}", reply.when()), reply)?;
            }
        }
        let bye =
            "Serving until Ctrl-C. Paste a line into another terminal; change a token, and see who answers.";
        writeln!(anstream::stdout(), "{}", paint::good(bye))?;
        Ok(())
    }

    fn opening(&self) -> io::Result<()> {
        let mut out = anstream::stdout();
        let text = "Runwright: one agent for many users, each run with its own caller's headers.";
        writeln!(out, "{}", paint::heading(text))?;
        writeln!(out, "gRPC on {}, an MCP server `shop` beside it, model: {}.\n", self.address, self.model)
    }

    fn line(&self, number: u32, step: &Step) -> io::Result<()> {
        let mut out = anstream::stdout();
        writeln!(out, "{}", paint::heading(&format!("{number}. {}", step.heading)))?;
        writeln!(out, "{}\n", paint::command(&step.call.grpcurl(self.address)))
    }

    /// The line for a run that waits, behind when it is sent.
    fn reply_line(&self, when: &str, reply: &Reply) -> io::Result<()> {
        let mut out = anstream::stdout();
        writeln!(out, "{when}")?;
        writeln!(out, "{}\n", paint::command(&reply.grpcurl(self.address)))
    }

    async fn perform(&self, call: &Call, answer: &mut Answer) -> Fallible<()> {
        let (mut agents, mut catalog) = (self.agents.clone(), self.catalog.clone());
        let shown = match call {
            Call::ListAgents(request) => {
                catalog.list_agents(request.clone()).await.map(|reply| render::agents(reply.get_ref()))
            }
            Call::ExplainHeaders(request) => {
                catalog.explain_headers(request.clone()).await.map(|reply| render::headers(reply.get_ref()))
            }
            Call::ListTools(request) => {
                catalog.list_tools(request.clone()).await.map(|reply| render::tools(reply.get_ref()))
            }
            Call::Run(request) => agents.run(request.clone()).await.map(|reply| render::run(reply.get_ref())),
            Call::RunStreamed(request) => return self.stream(request, None, answer).await,
            Call::RunWaiting(request, reply) => {
                self.executed.take();
                self.stream(request, Some(reply), answer).await?;
                Ok(render::executed(&self.executed.take()))
            }
        };
        answer.show(&shown.unwrap_or_else(|status| failure::render(&status)))?;
        Ok(())
    }

    /// Shows events as they come, and sends `reply` when the run waits for it.
    async fn stream(&self, request: &RunRequest, reply: Option<&Reply>, answer: &mut Answer) -> Fallible<()> {
        let mut shown = events::Events::default();
        let mut control_token = String::new();
        let mut stream = match self.agents.clone().run_streamed(request.clone()).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return Ok(answer.show(&failure::render(&status))?),
        };
        loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(status) => return Ok(answer.show(&failure::render(&status))?),
            };
            let Some(event) = message.event else { continue };
            answer.show(&shown.render(message.sequence, &event))?;
            match (event, reply) {
                (Event::RunStarted(started), _) => control_token = started.control_token,
                (Event::CredentialsRequired(pending) | Event::ApprovalRequired(pending), Some(reply)) => {
                    let when = "\nThe run waits. Its backend sends, with the ids of the events above:";
                    self.reply_line(when, reply)?;
                    self.reply(reply, &message.run_id, &control_token, &pending.input_id, answer).await?;
                }
                _ => {}
            }
        }
    }

    /// Brings a run that waits what it waits for, and shows what is said to that.
    async fn reply(
        &self,
        reply: &Reply,
        run_id: &str,
        control_token: &str,
        input_id: &str,
        answer: &mut Answer,
    ) -> Fallible<()> {
        let mut agents = self.agents.clone();
        let (run_id, control_token) = (run_id.to_owned(), control_token.to_owned());
        match reply {
            Reply::Headers(request) => {
                let request = UpdateRunHeadersRequest { run_id, control_token, ..request.clone() };
                let applied = agents.update_run_headers(request).await?.into_inner().applied_headers;
                answer.show(&render::sent(&applied))?;
            }
            Reply::Input(request) => {
                let mut request = SubmitRunInputRequest { run_id, control_token, ..request.clone() };
                request.answers.iter_mut().for_each(|answer| answer.input_id = input_id.to_owned());
                agents.submit_run_input(request).await?;
            }
        }
        Ok(writeln!(anstream::stdout())?)
    }

    fn check(&self, step: &Step, answer: &Answer) -> Result<(), String> {
        let words: Vec<&str> = answer.text.split_whitespace().collect();
        let text = words.join(" ");
        let scripted = if self.scripted { step.holds_if_scripted } else { &[] };
        if let Some(missing) = step.holds.iter().chain(scripted).find(|wanted| !text.contains(**wanted)) {
            return Err(format!("{missing:?} should be in the answer"));
        }
        match step.lacks.iter().chain(&TOKENS).find(|unwanted| text.contains(**unwanted)) {
            Some(unwanted) => Err(format!("{unwanted:?} should not be in the answer")),
            None => Ok(()),
        }
    }
}

impl Answer {
    fn show(&mut self, text: &str) -> io::Result<()> {
        self.text += &anstream::adapter::strip_str(text).to_string();
        let mut out = anstream::stdout();
        write!(out, "{text}")?;
        out.flush()
    }
}
