//! One run of one procedure: the guest runs once, and its result is a change set.

use super::{
    bindings::{Capabilities, warded::host::types},
    compiled::CompiledCache,
    guest_error, limits, precompiled, procedures,
    watch::{Clock, EPOCHS, Watch},
};
use crate::{
    broker::{Broker, session::Session},
    sandbox::{granting::BoundPolicy, host::State},
};
use warded_artifact::imports;
use warded_lib::{
    error::{Error, Result},
    name::Name,
    policy::setting::Setting,
};
use wasmtime::{
    Engine, Store,
    component::{self, HasSelf, InstancePre, Linker},
};

/// The name under which the watch reports the inspection in [`Component::load_in_time`].
pub const COMPILING: &str = "the compiler";

/// A component that can be run: all of its imports exist here, with the types that it expects.
pub struct Component {
    engine: Engine,
    linked: InstancePre<State>,
}

impl Component {
    /// Loads the component of a policy: uses the machine code that was made with this binary, if any, or else compiles
    /// it in this process. Only for components that are known to be harmless.
    ///
    /// # Errors
    /// It is not a component, imports what no procedure gets or this version does not have, or has other procedures
    /// than its policy.
    #[cfg(feature = "compiler")]
    pub fn load(granting: &BoundPolicy) -> Result<Self> {
        let here = |engine: &Engine, component: &[u8]| {
            component::Component::new(engine, component).map_err(|error| {
                Error::refused("the component cannot be compiled").cause(guest_error::short(&format!("{error:#}")))
            })
        };
        Self::load_with(new_engine()?, &Clock::default(), granting, here)
    }

    /// As [`Component::load`], but if there is no machine code in `cache`, the component is compiled in a separate
    /// process with limits of its own. `overdue` is called when inspecting the component takes longer than one host
    /// call may, and must end the process: nothing else can stop the inspection.
    ///
    /// # Errors
    /// As [`Component::load`].
    pub fn load_in_time(
        granting: &BoundPolicy,
        cache: Option<&CompiledCache>,
        overdue: impl Fn(&'static str) + Send + 'static,
    ) -> Result<Self> {
        Self::load_by(granting, (cache, cache), overdue)
    }

    /// The same, but leaves `cache` as it is: for components that are only inspected.
    ///
    /// # Errors
    /// As [`Component::load`].
    pub fn load_to_look(
        granting: &BoundPolicy,
        cache: &CompiledCache,
        overdue: impl Fn(&'static str) + Send + 'static,
    ) -> Result<Self> {
        Self::load_by(granting, (Some(cache), None), overdue)
    }

    /// Looks for machine code in the first cache, and stores it in the second one.
    fn load_by(
        granting: &BoundPolicy,
        (found, kept): (Option<&CompiledCache>, Option<&CompiledCache>),
        overdue: impl Fn(&'static str) + Send + 'static,
    ) -> Result<Self> {
        let (engine, clock) = (new_engine()?, Clock::default());
        let _watch = Watch::start(engine.clone(), clock.clone(), overdue)?;
        let load = |engine: &Engine, component: &[u8]| {
            let sought = match found.map(|cache| precompiled::load_kept(engine, cache, &granting.digest)) {
                Some(Ok(component)) => return Ok(component),
                Some(Err(sought)) => Some(sought),
                None => None,
            };
            precompiled::compile(engine, component, sought.as_ref(), kept.map(|cache| (cache, &granting.digest)))
        };
        Self::load_with(engine, &clock, granting, load)
    }

    fn load_with(
        engine: Engine,
        clock: &Clock,
        granting: &BoundPolicy,
        compile: impl FnOnce(&Engine, &[u8]) -> Result<component::Component>,
    ) -> Result<Self> {
        let bundled = granting.precompiled.map(|code| load_bundled(&engine, code)).transpose()?.flatten();
        let (engine, component) = match bundled {
            // Its imports were checked when it was built, and its digest shows that it was made from this component.
            Some(loaded) => loaded,
            None => {
                let looking = clock.enter(COMPILING);
                imports::only_ours(&granting.component)?;
                drop(looking);
                let component = compile(&engine, &granting.component)?;
                (engine, component)
            }
        };
        let _looking = clock.enter(COMPILING);
        let linked = link(&engine, &component)?;
        procedures::check(&engine, &component, granting)?;
        Ok(Self { engine, linked })
    }
}

/// Finds the host's function for each function that a component imports.
fn link(engine: &Engine, component: &component::Component) -> Result<InstancePre<State>> {
    let mut linker: Linker<State> = Linker::new(engine);
    Capabilities::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
        .map_err(|error| guest_error::broken(&error))?;
    linker.instantiate_pre(component).map_err(|error| guest_error::not_linked(&error))
}

/// Loads a component that came with this binary, with an engine that can run it.
fn load_bundled(engine: &Engine, code: &'static [u8]) -> Result<Option<(Engine, component::Component)>> {
    let engine = match warded_engine::BUNDLED_FOR {
        None => engine.clone(),
        Some(target) => {
            let mut config = warded_engine::config();
            config.target(target).and_then(|config| Engine::new(config)).map_err(|error| not_started(&error))?
        }
    };
    Ok(precompiled::load(&engine, code).map(|component| (engine, component)))
}

fn new_engine() -> Result<Engine> {
    Engine::new(&warded_engine::config()).map_err(|error| not_started(&error))
}

fn not_started(error: &wasmtime::Error) -> Error {
    Error::failed("cannot start the WebAssembly engine").cause(format!("{error:#}"))
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Component")
    }
}

/// Runs a procedure. All of its effects are in the session that is returned.
///
/// # Errors
/// A denial, an exceeded limit, a trap, or the failure that the procedure ended with. In none of these cases has
/// anything been changed.
pub fn run(
    component: &Component,
    procedure: &Name,
    settings: &[Setting],
    broker: Broker,
    session: Session,
    overdue: impl Fn(&'static str) + Send + 'static,
) -> Result<Session> {
    let clock = Clock::default();
    let mut store = Store::new(&component.engine, State::new(broker, session, clock.clone()));
    store.limiter(|state| state.taken());
    store.set_epoch_deadline(EPOCHS);
    store.set_hostcall_fuel(limits::CALL_BYTES);
    let _watch = Watch::start(component.engine.clone(), clock, overdue)?;

    let instance =
        component.linked.instantiate(&mut store).map_err(|error| guest_error::not_started(procedure, &error))?;
    let function = instance
        .get_typed_func::<(Vec<types::Setting>,), (std::result::Result<(), types::Error>,)>(
            &mut store,
            procedure.as_str(),
        )
        .map_err(|error| guest_error::broken(&error))?;
    let settings =
        settings.iter().map(|setting| types::Setting { name: setting.name.to_string(), value: setting.value.clone() });
    let ended = function.call(&mut store, (settings.collect(),));
    let session = store.into_data().into_session();
    match ended {
        Ok((Ok(()),)) => Ok(session),
        Ok((Err(error),)) => Err(guest_error::ended_with(procedure, &error, session.authority_failure)),
        Err(error) => Err(guest_error::trapped(procedure, &error)),
    }
}
